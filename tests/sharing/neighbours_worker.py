"""Looks for neighbours in shares: python -m tests.sharing.neighbours_worker FOLDER, which has all vectors."""

import sys
from pathlib import Path

import torch

from pcae.runs.online_probe import sorted_right
from pcae.sharing.neighbours import Share, nearest
from pcae.training.distributed import open_world

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    features, labels, asked, expected = torch.load(folder / "all.pt")
    with open_world("cpu") as world:
        holders = max(world.size - 1, 1)  # of three processes the last one holds nothing, and the second asks nothing
        mine = slice(world.rank, None, holders) if world.rank < holders else slice(0, 0)
        askers = [rank for rank in range(world.size) if rank != 1 or world.size < 3]
        place = askers.index(world.rank) if world.rank in askers else None
        rows = slice(0, 0) if place is None else slice(place, None, len(askers))
        train, test = Share(features[mine], labels[mine]), Share(asked[rows], expected[rows])
        found = nearest(train, test.features, 20, world)
        torch.save((place, *found, sorted_right(train, test, 5, world)), folder / f"{world.size}-{world.rank}.pt")
