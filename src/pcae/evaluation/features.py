"""Images -> features: whole images, nothing hidden, the same every time."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pcae.data.batches import whole_loader
from pcae.data.images import Images
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
    images: Images, size: tuple[int, int], function: Callable[[Tensor], Tensor], workers: int = 0
) -> Float[Tensor, "images dim"]:
    """What `function` makes of batches of whole uint8 images, one row an image, on the CPU."""
    with torch.inference_mode():
        return torch.cat([function(batch).float().cpu() for batch in whole_loader(images, size, workers=workers)])


def embed(model: Pretrained, images: Images, how: Pool = "mean", workers: int = 0) -> Float[Tensor, "images dim"]:
    """Pooled features of every image, in order. Raises ValueError when the channels differ from the model's."""
    wanted = model.facts.encoder.channels
    if images.channels != wanted:
        raise ValueError(f"the model takes images of {wanted} channels, got {images.channels}")
    device = model.normalise.get_buffer("mean").device
    return collect(images, model.facts.encoder.image_size, lambda batch: pool(model(batch.to(device)), how), workers)


def raw_pixels(images: Images, size: tuple[int, int]) -> Float[Tensor, "images values"]:
    """The pixels themselves as features: the baseline that any encoder should be held against."""
    return collect(images, size, lambda batch: batch.flatten(1))
