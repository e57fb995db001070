"""The order in which a stream is read: which sample stands where, worked out and never stored.

A lane is a reader of its own, which goes through its part of all samples and has an equal share of every batch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

USUAL = 64
"""Lanes where none are asked for: every batch size that is a multiple of 64 has them."""


class Run(NamedTuple):
    """Samples of a shard that lie one after the other."""

    shard: int
    first: int
    samples: int


class Block(NamedTuple):
    """Samples of a lane that are read together, as they lie in their shards, and the order in which they are shown."""

    runs: list[Run]
    order: list[int]

    def rows(self) -> Iterator[tuple[int, int]]:
        """Shard of each sample, and its row there, as they lie."""
        return ((run.shard, row) for run in self.runs for row in range(run.first, run.first + run.samples))


@dataclass(frozen=True, eq=False)
class Lanes:
    """The samples of shards dealt to lanes, of which each has an equal share of every batch.

    In each epoch the shards stand in an order of their own, and each lane has a part of all their samples, which may
    begin and end inside of shards. A lane goes through its part once, block by block of `shuffle` samples, those of a
    block in random order, and then through its part of the next epoch. So what a lane's sample number n is depends on
    the counts, the seed, the lanes and the blocks alone.

    counts: samples of each shard.
    """

    counts: Int[np.ndarray, " shards"]
    lanes: int
    shuffle: int
    seed: int

    @cached_property
    def total(self) -> int:
        """Samples of all shards."""
        return int(self.counts.sum())

    def part(self, lane: int) -> range:
        """The places among an epoch's samples that a lane goes through."""
        return range(lane * self.total // self.lanes, (lane + 1) * self.total // self.lanes)

    def place(self, lane: int, number: int) -> tuple[int, int, int]:
        """Epoch, block in it and place in the block of a lane's sample, counted from the run's first."""
        epoch, place = divmod(number, len(self.part(lane)))
        return epoch, *divmod(place, self.shuffle)

    def blocks(self, lane: int, number: int) -> Iterator[tuple[Block, int]]:
        """A lane's blocks without end from that of a sample on, and the place in it where the first one begins."""
        size = len(self.part(lane))
        epoch, first, place = self.place(lane, number)
        for later in count(epoch):
            for block in range(first, -(-size // self.shuffle)):
                yield self.block(lane, later, block), place
                place = 0
            first = 0

    def block(self, lane: int, epoch: int, number: int) -> Block:
        """A block of a lane's part of an epoch."""
        part = self.part(lane)[number * self.shuffle : (number + 1) * self.shuffle]
        state = np.random.SeedSequence([self.seed, epoch, lane, number, 3]).generate_state(len(part), np.uint64)
        return Block(list(self.runs(epoch, part)), np.argsort(state, kind="stable").tolist())

    def runs(self, epoch: int, part: range) -> Iterator[Run]:
        """What stands at places one after the other of an epoch, shard by shard."""
        shards, ends = permuted(self, epoch)
        place = part.start
        for index in range(int(np.searchsorted(ends, place, side="right")), len(shards)):
            if place == part.stop:
                return
            shard, end = int(shards[index]), int(ends[index])
            size = min(end, part.stop) - place
            if size:
                yield Run(shard, place - (end - int(self.counts[shard])), size)
            place += size


@lru_cache(maxsize=4)
def permuted(lanes: Lanes, epoch: int) -> tuple[Int[np.ndarray, " shards"], Int[np.ndarray, " shards"]]:
    """The shards in an epoch's order, and where each ends among its samples.

    Kept, since all lanes are in the same epoch, or nearly.
    """
    state = np.random.SeedSequence([lanes.seed, epoch, 2]).generate_state(len(lanes.counts), np.uint64)
    shards = np.argsort(state, kind="stable")
    return shards, np.cumsum(lanes.counts[shards])


def count_lanes(asked: int | None, batch_size: int, parts: int, images: int) -> int:
    """Lanes of a run: those that are asked for, or as many as batches can be cut into, up to `USUAL`.

    parts: processes x accumulation. Raises ValueError with the remedy for a number that does not fit.
    """
    lanes = math.gcd(batch_size, USUAL) if asked is None else asked
    if lanes < 1 or batch_size % lanes:
        raise ValueError(f"lanes must be at least 1 and divide batch_size {batch_size}, got {lanes}")
    if lanes % parts:
        raise ValueError(
            f"lanes {lanes} must be a multiple of processes x accumulation, {parts}; give --lanes {parts} or a multiple"
        )
    if lanes > images:
        raise ValueError(f"lanes {lanes} are more than the {images} images; give fewer --lanes")
    return lanes
