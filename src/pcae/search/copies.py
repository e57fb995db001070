"""Rows that are there several times: an index of one of each finds more than one of all of them."""

import hashlib
from typing import NamedTuple

import numpy as np

from pcae.data.packed.reading import fingerprint
from pcae.search.exact import Nearest, in_order
from pcae.search.rows import Rows


class Copies(NamedTuple):
    """pairs: rows that are equal to one before them, and the first of these, sorted by the latter. fingerprint: of all
    rows."""

    pairs: np.ndarray
    fingerprint: str


def find_copies(rows: Rows) -> Copies:
    """Compare all rows, bit by bit, in one pass."""
    seen: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    everything, place = hashlib.blake2b(digest_size=16), 0
    for block in rows.blocks():
        content = np.ascontiguousarray(block, np.float32)
        everything.update(content.data)
        for row in content:
            first = seen.setdefault(hashlib.blake2b(row.data, digest_size=16).digest(), place)
            if first != place:
                pairs.append((first, place))
            place += 1
    return Copies(np.array(sorted(pairs), np.int64).reshape(-1, 2)[:, ::-1], everything.hexdigest())


def fingerprint_of(rows: Rows) -> str:
    """What `find_copies` says of all rows, without a comparison."""
    return fingerprint(np.ascontiguousarray(block, np.float32).data for block in rows.blocks())


def with_copies(similarity: np.ndarray, rows: np.ndarray, pairs: np.ndarray, most: int) -> Nearest:
    """The neighbours of one query with the copies of each, at most so many."""
    near, firsts = rows.astype(np.int64), pairs[:, 1]
    start, stop = np.searchsorted(firsts, near), np.searchsorted(firsts, near, side="right")
    more = [pairs[low:high, 0][:most] for low, high in zip(start, stop, strict=True)]
    every = np.concatenate([near, *more])
    values = np.concatenate([similarity, np.repeat(similarity, list(map(len, more)))])
    found = in_order(values[None], every[None])
    return Nearest(found.similarity[0, :most], found.rows[0, :most])
