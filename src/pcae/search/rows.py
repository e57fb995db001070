"""Rows of features that are read block by block, so that they need not fit into memory."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

BLOCK = 8_192
"""Rows that are looked at together."""


class Rows(Protocol):
    """Features, float32, one row an image."""

    @property
    def count(self) -> int:
        """How many rows there are."""
        ...

    @property
    def width(self) -> int:
        """Numbers of a row."""
        ...

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, at most BLOCK at a time."""
        ...


class HeldRows:
    """Rows in memory, or in a file that is mapped into it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, (self.count, self.width) = values, values.shape

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, at most BLOCK at a time."""
        for start in range(0, self.count, BLOCK):
            yield self.values[start : start + BLOCK]


def directions(values: np.ndarray) -> np.ndarray:
    """Rows at length 1; one of zeros stays. Raises ValueError for one that holds no number."""
    rows = np.asarray(values, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(length).all():
        raise ValueError("features hold values that are no numbers (nan, inf); embed the images again")
    return rows / np.maximum(length, np.finfo(np.float32).tiny)
