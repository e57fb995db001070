"""Images -> features: whole images, nothing hidden, the same every time."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pcae.data.batches import Follow, whole_loader
from pcae.data.excerpts import SIDE, shrink
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles, Batch
from pcae.model.blocks import Encoded
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings.choices import Pool
from pcae.weights.files import load


def pool(model: Pretrained, encoded: Encoded, how: Pool) -> Float[Tensor, "batch dim"]:
    """mean: the mean of the patch tokens. cls: the class token. Raises ValueError where there is none.

    A classifier with average pooling has its last norm after the pooling: it stands here too.
    """
    if how == "cls" and not model.encoder.has_class_token:
        raise ValueError("pool cls needs a model with a class token; use --pool mean")
    return model.encoder.vit.fc_norm(encoded.tokens.mean(dim=1) if how == "mean" else encoded.prefix[:, 0])


def readable(
    loader: DataLoader, bad_files: BadFiles, follow: Follow = iter, looked_at: int | None = None
) -> Iterator[Batch]:
    """The loader's batches that hold an image; what cannot be read is counted, and too much of it a ValueError.

    looked_at: how many images there are in the loader, where it is not all of them.
    """
    for batch in follow(loader):
        bad_files.add(batch.failed)
        bad_files.check(looked_at)
        if batch.indices:
            yield batch


def embed_in_batches(
    model: Pretrained,
    bad_files: BadFiles,
    how: Pool | Literal["tokens"] = "mean",
    *,
    batch_size: int = 64,
    workers: int = 0,
    follow: Follow = iter,
) -> Iterator[tuple[list[int], Float[Tensor, "batch *dims"]]]:
    """Indices and features of the images of `bad_files`, in order: pooled ones, or all patch tokens.

    Raises ValueError when channels or pixel_range are not the model's. Images that cannot be read are counted.
    """
    facts, images = model.facts, bad_files.images
    check_fit(facts, images)
    loader = whole_loader(images, facts.encoder.image_size, None, batch_size, workers, facts.crop_pct)
    for batch in readable(loader, bad_files, follow):
        yield batch.indices, features_of(model, batch, how)


def check_fit(facts: PretrainedFacts, images: Images) -> None:
    """Raise ValueError where images are not read as a model takes them."""
    if images.channels != facts.encoder.channels:
        raise ValueError(f"the model takes images of {facts.encoder.channels} channels, got {images.channels}")
    if images.pixel_range != facts.pixel_range and not isinstance(images.items, np.ndarray):
        raise ValueError(f"the model takes images of pixel_range {facts.pixel_range}, got {images.pixel_range}")
    if facts.bands is not None and images.bands is not None and tuple(images.bands) != tuple(facts.bands):
        raise ValueError(f"the model takes bands {facts.bands}, got {images.bands}")


@torch.inference_mode()
def features_of(model: Pretrained, batch: Batch, how: Pool | Literal["tokens"]) -> Float[Tensor, "batch *dims"]:
    """Features of the images of a batch: pooled ones, or all patch tokens."""
    encoded = model(batch.pixels.to(model.device))
    features = encoded.tokens if how == "tokens" else pool(model, encoded, how)
    return features.float().cpu()


def embed(
    model: nn.Module,
    images: Images,
    how: Pool = "mean",
    workers: int = 0,
    bad_files: BadFiles | None = None,
    follow: Follow = iter,
) -> Float[Tensor, "images dim"]:
    """Pooled features of every image, in order. Raises ValueError when channels or pixel_range are not the model's.

    model: what `pcae.load` returned, or takes: an Encoder or timm's VisionTransformer. Images that cannot be read have
    no row and are counted in `bad_files`; without it they raise ValueError.
    """
    model = model if isinstance(model, Pretrained) else load(model)
    bad_files = bad_files or BadFiles(images, 0.0)
    found = embed_in_batches(model, bad_files, how, workers=workers, follow=follow)
    return torch.cat([features for _, features in found])


def embed_both_ways(
    model: Pretrained, images: Images, chosen: Sequence[int], workers: int = 0, follow: Follow = iter
) -> tuple[list[int], Float[Tensor, "images dim"], UInt8[Tensor, "images channels 64 64"]]:
    """Which of the chosen images can be read, the mean of the pooled features of each and of the same one mirrored, as
    a mirrored copy has them too, and small copies.
    """
    check_fit(model.facts, images)
    size, crop_pct = model.facts.encoder.image_size, model.facts.crop_pct
    loader = whole_loader(images, size, chosen, 64, workers, crop_pct)
    indices, found = [], [torch.empty(0, model.encoder.width)]
    small = [torch.empty(0, images.channels, SIDE, SIDE, dtype=torch.uint8)]
    for batch in (batch for batch in follow(loader) if batch.indices):
        mirrored = batch._replace(pixels=batch.pixels.flip(-1))
        found.append((features_of(model, batch, "mean") + features_of(model, mirrored, "mean")) / 2)
        small.append(shrink(batch.pixels))
        indices += batch.indices
    return indices, torch.cat(found), torch.cat(small)


def raw_pixels(images: Images, size: tuple[int, int]) -> Float[Tensor, "images values"]:
    """The pixels themselves as features: the baseline that any encoder should be held against.

    Raises ValueError for images that cannot be read.
    """
    batches = readable(whole_loader(images, size), BadFiles(images, 0.0))
    return torch.cat([batch.pixels.flatten(1).float() for batch in batches])
