"""An order of images that shows each class alike."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from pcae.data.batches import Order


def balanced_order(labels: Sequence[int]) -> Order:
    """An order of as many images as there are in which each class is shown alike, up to one image.

    Within an epoch, images of a class are shown equally often, up to once: those of a rare class several times, those
    of a frequent one in part. Which ones, and where, follows from seed and epoch alone. Classes without images do not
    count.
    """
    classes = torch.tensor(list(labels))
    rows = [(classes == place).nonzero().flatten() for place in classes.unique().tolist()]

    @lru_cache(maxsize=2)
    def order(images: int, seed: int, epoch: int) -> Tensor:
        assert images == len(classes)
        return drawn(rows, images, seed, epoch)

    return order


def drawn(rows: Sequence[Int[Tensor, " _"]], images: int, seed: int, epoch: int) -> Int[Tensor, " images"]:
    """The images of an epoch, of the `rows` of each class."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    share, more = divmod(images, len(rows))
    wanted = torch.full((len(rows),), share)
    wanted[torch.randperm(len(rows), generator=generator)[:more]] += 1
    some = [some_of(own, count, generator) for own, count in zip(rows, wanted.tolist(), strict=True)]
    return torch.cat(some)[torch.randperm(images, generator=generator)]


def some_of(rows: Int[Tensor, " _"], count: int, generator: torch.Generator) -> Int[Tensor, " count"]:
    """So many of the rows, each as often as the others, up to once."""
    rounds = -(-count // len(rows))
    return torch.cat([rows[torch.randperm(len(rows), generator=generator)] for _ in range(rounds)] or [rows])[:count]
