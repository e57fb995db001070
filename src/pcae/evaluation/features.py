"""Images -> features: whole images, nothing hidden, the same every time."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pcae.data.batches import Follow, whole_loader
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles
from pcae.model.encoder import Encoded
from pcae.model.pretrained import Pretrained

Pool = Literal["mean", "cls"]


def pool(encoded: Encoded, how: Pool) -> Float[Tensor, "batch dim"]:
    """mean: the mean of the patch tokens. cls: the class token. Raises ValueError where there is none."""
    if how == "mean":
        return encoded.tokens.mean(dim=1)
    if encoded.prefix.shape[1] == 0:
        raise ValueError("pool cls needs a model with a class token; use --pool mean")
    return encoded.prefix[:, 0]


def collect(
    images: Images,
    size: tuple[int, int],
    function: Callable[[Tensor], Tensor],
    workers: int = 0,
    bad_files: BadFiles | None = None,
    follow: Follow = iter,
) -> Float[Tensor, "images dim"]:
    """What `function` makes of batches of whole uint8 images, one row an image, on the CPU; `follow` shows how far.

    Images that cannot be read have no row and are counted in `bad_files`; without it they raise ValueError.
    """
    bad_files = bad_files or BadFiles(images, 0.0)
    rows = []
    with torch.inference_mode():
        for batch in follow(whole_loader(images, size, workers=workers)):
            bad_files.add(batch.failed)
            bad_files.check()
            if batch.indices:
                rows.append(function(batch.pixels).float().cpu())
    return torch.cat(rows)


def embed(
    model: Pretrained,
    images: Images,
    how: Pool = "mean",
    workers: int = 0,
    bad_files: BadFiles | None = None,
    follow: Follow = iter,
) -> Float[Tensor, "images dim"]:
    """Pooled features of every image, in order. Raises ValueError when channels or pixel_range are not the model's.

    Images that cannot be read have no row and are counted in `bad_files`; without it they raise ValueError.
    """
    wanted = model.facts.encoder.channels
    if images.channels != wanted:
        raise ValueError(f"the model takes images of {wanted} channels, got {images.channels}")
    if images.pixel_range != model.facts.pixel_range and not isinstance(images.items, np.ndarray):
        raise ValueError(f"the model takes images of pixel_range {model.facts.pixel_range}, got {images.pixel_range}")
    device = model.normalise.get_buffer("mean").device
    size = model.facts.encoder.image_size
    return collect(images, size, lambda batch: pool(model(batch.to(device)), how), workers, bad_files, follow)


def raw_pixels(
    images: Images, size: tuple[int, int], bad_files: BadFiles | None = None
) -> Float[Tensor, "images values"]:
    """The pixels themselves as features: the baseline that any encoder should be held against."""
    return collect(images, size, lambda batch: batch.flatten(1), bad_files=bad_files)
