"""Rows of features, written to .npy or .parquet as they come, so that they need not fit into memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pcae.writing import in_one_move


class NpyRows:
    """A float32 .npy file; its header, which has room for any number of rows, is written again at the end."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...]) -> None:
        self.file, self.shape, self.count = file, shape, 0
        self.finish()

    def finish(self) -> None:
        """Write how many rows there are."""
        self.file.seek(0)
        facts = {"descr": "<f4", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, facts)

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Append rows."""
        self.file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
        self.count += len(names)


class ParquetRows:
    """The columns path and embedding (lists of float32 of fixed length, nested for patch tokens) of a .parquet file.

    Odd bytes in paths become \\x...
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...]) -> None:
        import pyarrow
        from pyarrow import parquet

        self.kind: pyarrow.DataType = pyarrow.float32()
        for length in reversed(shape):
            self.kind = pyarrow.list_(self.kind, length)
        schema = pyarrow.schema({"path": pyarrow.string(), "embedding": self.kind})
        self.writer = parquet.ParquetWriter(file, schema)

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Append a group of rows."""
        import pyarrow

        column = pyarrow.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
        for length in reversed(values.shape[1:]):
            column = pyarrow.FixedSizeListArray.from_arrays(column, length)
        paths = [name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in names]
        table = pyarrow.table({"path": pyarrow.array(paths, pyarrow.string()), "embedding": column})
        self.writer.write_table(table.cast(self.writer.schema))

    def finish(self) -> None:
        """Write the file's index."""
        self.writer.close()


@contextmanager
def rows_in(path: Path, shape: tuple[int, ...]) -> Iterator[NpyRows | ParquetRows]:
    """A .npy or .parquet file of rows of this shape, which is there, whole, when all went well."""
    with in_one_move(path) as beside, beside.open("wb") as file:
        rows = NpyRows(file, shape) if path.suffix == ".npy" else ParquetRows(file, shape)
        try:
            yield rows
        finally:  # after a failure too: pyarrow wants its file open when it ends
            rows.finish()
