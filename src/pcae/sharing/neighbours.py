"""The nearest of vectors of which each process holds a share: no process ever has all of them."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed
from torch.nn import functional as F

from pcae.training.distributed import World

BLOCK = 512
"""Vectors that all processes look for the nearest of at once; besides its share, this is what a process holds."""


class Share(NamedTuple):
    """Vectors and labels that a process holds, on the CPU."""

    features: Float[Tensor, "rows dim"]
    labels: Int[Tensor, " rows"]


def nearest(
    own: Share, asked: Float[Tensor, "asked dim"], k: int, world: World
) -> tuple[Float[Tensor, "asked k"], Int[Tensor, "asked k"]]:
    """Cosine similarity and labels of the k vectors, of all processes' shares, that are nearest to each asked for.

    Every process calls it, with a share and with vectors of its own. There are at least k in all.
    """
    features, asked = F.normalize(own.features, dim=1), F.normalize(asked, dim=1)
    counts, found = world.gather(len(asked)), [(asked.new_empty(0, k), own.labels.new_empty(0, k))]
    for rank, count in enumerate(counts):
        for start in range(0, count, BLOCK):
            rows = min(BLOCK, count - start)
            block = asked[start : start + rows] if rank == world.rank else asked.new_empty(rows, asked.shape[1])
            if world.size > 1:
                distributed.broadcast(block, rank, world.words)
            similarity, labels = (to_one(part, rank, world) for part in nearest_of(features, own.labels, block, k))
            if rank == world.rank:
                best, places = similarity.topk(k, dim=1)
                found.append((best, labels.gather(1, places)))
    return torch.cat([best for best, _ in found]), torch.cat([labels for _, labels in found])


def nearest_of(features: Tensor, labels: Tensor, block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarity and labels of the k nearest in one share; where it has fewer, some that are infinitely far."""
    best, places = (block @ features.T).topk(min(k, len(features)), dim=1)
    missing = 0, k - best.shape[1]
    return F.pad(best, missing, value=-torch.inf), F.pad(labels[places], missing)


def to_one(part: Tensor, rank: int, world: World) -> Tensor:
    """What all processes found, side by side, in the one of that rank; nothing in the others."""
    if world.size == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(world.size)] if rank == world.rank else None
    distributed.gather(part.contiguous(), parts, rank, world.words)
    return part if parts is None else torch.cat(parts, dim=1)
