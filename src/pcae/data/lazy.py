"""Sequences whose elements are made when asked for: ten million of them cost no memory of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import Dataset

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Lazy(Sequence[T], Dataset[T]):
    """`make` of each of the rows, in their order; what a loader's processes are to have must be picklable."""

    make: Callable[[int], T]
    rows: range | np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        rows = self.rows[index]
        return Lazy(self.make, rows) if isinstance(index, slice) else self.make(int(rows))


def pick(values: Sequence[T], rows: np.ndarray) -> Sequence[T]:
    """The values at some rows; lazy ones stay lazy."""
    if isinstance(values, Lazy):
        return Lazy(values.make, np.asarray(values.rows)[rows])
    return [values[row] for row in rows.tolist()]


def row_bytes(content: np.ndarray | bytes, index: np.ndarray, end: str, row: int) -> bytes:
    """The bytes of a row where those of all rows stand one after the other; `index` says where each ends."""
    return bytes(content[int(index[row - 1][end]) if row else 0 : int(index[row][end])])
