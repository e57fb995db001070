"""Exact search: every query against every row, block by block."""

from typing import NamedTuple

import numpy as np
import torch

from pcae.search.rows import Rows, directions

QUERIES = 1_024
"""Queries whose similarities to a block of rows are in memory at once."""


class Nearest(NamedTuple):
    """Of each query the rows that are nearest and their cosine similarities, queries x neighbours, nearest first."""

    similarity: np.ndarray
    rows: np.ndarray


def exact_neighbours(rows: Rows, queries: np.ndarray, neighbours: int) -> Nearest:
    """So many nearest rows of each query, or all rows where there are fewer. Memory does not depend on their number."""
    wanted = torch.from_numpy(directions(queries))
    most = min(neighbours, rows.count)
    best = torch.full((len(wanted), most), -torch.inf)
    where = torch.zeros((len(wanted), most), dtype=torch.long)
    start = 0
    for block in rows.blocks():
        unit = torch.from_numpy(directions(block))
        for first in range(0, len(wanted), QUERIES):
            some = slice(first, first + QUERIES)
            similarity, places = (wanted[some] @ unit.T).topk(min(most, len(unit)), dim=1)
            best[some], order = torch.cat([best[some], similarity], dim=1).topk(most, dim=1)
            where[some] = torch.cat([where[some], places + start], dim=1).gather(1, order)
        start += len(block)
    return in_order(best.numpy(), where.numpy())


def in_order(similarity: np.ndarray, rows: np.ndarray) -> Nearest:
    """The nearest first; of those that are equally near, the first row."""
    order = np.lexsort((rows, -similarity))
    return Nearest(np.take_along_axis(similarity, order, 1), np.take_along_axis(rows, order, 1))


def without(found: Nearest, own: np.ndarray) -> Nearest:
    """One neighbour fewer for each query: without its own row, else without the last."""
    hit = found.rows == own[:, None]
    hit[~hit.any(axis=1), -1] = True
    shape = (len(own), found.rows.shape[1] - 1)
    return Nearest(found.similarity[~hit].reshape(shape), found.rows[~hit].reshape(shape))
