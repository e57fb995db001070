"""What a frozen encoder makes of images, in one pass: pooled features, and patch tokens in memory or computed anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcae.data.batches import Follow, whole_loader
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import pool, readable
from pcae.model.pretrained import Pretrained
from pcae.settings.choices import Pool

PIXELS = "raw pixels"
CHUNK = 64
"""Images that the encoder sees at once."""


@dataclass(frozen=True)
class Cached:
    """Features in memory, in float16 or float32; they are given out in float32."""

    values: Float[Tensor, "images *dims"]

    def __len__(self) -> int:
        return len(self.values)

    def batches(self, rows: Int[Tensor, " rows"], batch_size: int) -> Iterator[Float[Tensor, "batch *dims"]]:
        """The features at `rows`, in that order."""
        for some in rows.split(batch_size):
            yield self.values[some].float()


@dataclass(frozen=True)
class Recomputed:
    """Patch tokens that do not fit into memory: the frozen encoder computes them each time.

    They are rounded to float16 as cached ones are, so that it makes no difference which of the two a probe gets.
    """

    model: Pretrained
    images: Images
    workers: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, rows: Int[Tensor, " rows"], batch_size: int) -> Iterator[Float[Tensor, "batch tokens dim"]]:
        """The tokens of the images at `rows`, in that order. Raises ValueError for one that cannot be read any more."""
        size, crop_pct = self.model.facts.encoder.image_size, self.model.facts.crop_pct
        loader = whole_loader(self.images, size, rows.tolist(), batch_size, self.workers, crop_pct)
        for batch in readable(loader, BadFiles(self.images, 0.0)):
            yield self.tokens(batch.pixels)

    @torch.no_grad()
    def tokens(self, pixels: Tensor) -> Float[Tensor, "batch tokens dim"]:
        """The tokens of a batch, a few images at a time."""
        parts = [self.model(part.to(self.model.device)).tokens.half().float() for part in pixels.split(CHUNK)]
        return torch.cat(parts)


Features = Cached | Recomputed


@dataclass(frozen=True)
class Frozen:
    """The images that could be read, their pooled features by name, and their patch tokens."""

    images: Images
    pooled: dict[str, Cached]
    tokens: Features

    @property
    def labels(self) -> Int[Tensor, " images"]:
        """The class of each image."""
        return torch.tensor(list(self.images.labels or []))


def token_bytes(model: Pretrained, images: int) -> int:
    """Memory that the patch tokens of so many images take in float16."""
    tokens, width = token_shape(model)
    return images * tokens * width * 2


def token_shape(model: Pretrained) -> tuple[int, int]:
    """Patch tokens of an image, and the width of each."""
    rows, columns = model.encoder.grid
    return rows * columns, model.encoder.width


def freeze(
    model: Pretrained,
    bad_files: BadFiles,
    pools: Sequence[Pool],
    *,
    pixels: bool = False,
    cache_tokens: bool = False,
    workers: int = 0,
    follow: Follow = iter,
) -> Frozen:
    """Look once at every image of `bad_files`, which counts those that cannot be read.

    pixels: the raw pixels are features too. cache_tokens: patch tokens stay in memory.
    """
    images, facts = bad_files.images, model.facts
    tokens = torch.empty(len(images) if cache_tokens else 0, *token_shape(model), dtype=torch.float16)
    pooled: dict[str, list[Tensor]] = {name: [] for name in (*pools, *([PIXELS] if pixels else []))}
    done = 0
    loader = whole_loader(images, facts.encoder.image_size, None, CHUNK, workers, facts.crop_pct)
    with torch.inference_mode():
        for batch in readable(loader, bad_files, follow):
            encoded = model(batch.pixels.to(model.device))
            for how in pools:
                pooled[how].append(pool(model, encoded, how).float().cpu())
            if pixels:
                pooled[PIXELS].append(batch.pixels.flatten(1).float())
            if cache_tokens:
                tokens[done : done + len(batch.indices)] = encoded.tokens
            done += len(batch.indices)
    there = images.without(bad_files.found)
    features = {name: Cached(torch.cat(rows)) for name, rows in pooled.items()}
    return Frozen(there, features, Cached(tokens[:done]) if cache_tokens else Recomputed(model, there, workers))
