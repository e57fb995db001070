"""Rows of features, to .npy or .parquet as they come with their names, so that neither need fit memory; or held."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from pcae.writing import in_one_move


def names_beside(out: Path) -> Path:
    """Where the images of a .npy file's rows stand."""
    return out.with_suffix(".files.json")


class Rows(Protocol):
    """What takes rows of features with their names."""

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Append rows."""


class HeldRows:
    """Rows of this shape that stay in memory."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.names: list[str] = []
        self.parts = [np.empty((0, *shape), np.float32)]

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Append rows."""
        self.names.extend(names)
        self.parts.append(values)

    def values(self) -> np.ndarray:
        """All rows."""
        return np.concatenate(self.parts)


class NpyRows:
    """A float32 .npy file; its header, which has room for any number of rows, is written again at the end.

    names: takes what the rows are, as a list in JSON. count: rows so far.
    """

    def __init__(self, file: BinaryIO, names: BinaryIO, shape: tuple[int, ...]) -> None:
        self.file, self.names, self.shape, self.count = file, names, shape, 0
        self.write_header()
        self.names.write(b"[")

    def write_header(self) -> None:
        """Write how many rows there are."""
        self.file.seek(0)
        facts = {"descr": "<f4", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, facts)

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Append rows."""
        self.file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
        for name in names:
            self.names.write(b",\n" if self.count else b"\n")
            self.names.write(json.dumps(name).encode())
            self.count += 1

    def finish(self) -> None:
        """End both files."""
        self.write_header()
        self.names.write(b"\n]")


def schema_of(shape: tuple[int, ...], made_by: Mapping[str, str] | None = None) -> Any:
    """The columns of features of this shape: path and embedding, lists of float32 of fixed length. made_by: what the
    file says of the weights and the pooling, under its key `pcae`."""
    import pyarrow

    kind: pyarrow.DataType = pyarrow.float32()
    for length in reversed(shape):
        kind = pyarrow.list_(kind, length)
    said = None if made_by is None else {"pcae": json.dumps(made_by)}
    return pyarrow.schema({"path": pyarrow.string(), "embedding": kind}, said)


def table_of(names: Sequence[str], values: np.ndarray) -> Any:
    """Rows of features with their names, as pyarrow has them."""
    import pyarrow

    column = pyarrow.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
    for length in reversed(values.shape[1:]):
        column = pyarrow.FixedSizeListArray.from_arrays(column, length)
    table = pyarrow.table({"path": pyarrow.array(map(in_text, names), pyarrow.string()), "embedding": column})
    return table.cast(schema_of(values.shape[1:]))


def in_text(name: str) -> str:
    """A name as text: odd bytes become \\x..."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class ParquetRows:
    """A .parquet file of features (`schema_of`). count: rows so far."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], made_by: Mapping[str, str]) -> None:
        from pyarrow import parquet

        self.count = 0
        self.writer = parquet.ParquetWriter(file, schema_of(shape, made_by))

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Append a group of rows."""
        self.writer.write_table(table_of(names, values))
        self.count += len(names)

    def finish(self) -> None:
        """Write the file's index."""
        self.writer.close()


@contextmanager
def rows_in(path: Path, shape: tuple[int, ...], made_by: Mapping[str, str]) -> Iterator[NpyRows | ParquetRows]:
    """A .npy file, with its names beside it, or a .parquet file of rows of this shape; whole, when all went well.

    made_by: as `schema_of` has it; a .npy file does not say it.
    """
    with ExitStack() as files:

        def opened(path: Path) -> BinaryIO:
            return files.enter_context(files.enter_context(in_one_move(path)).open("wb"))

        if path.suffix == ".npy":
            rows = NpyRows(opened(path), opened(names_beside(path)), shape)
        else:
            rows = ParquetRows(opened(path), shape, made_by)
        try:
            yield rows
        finally:  # after a failure too: pyarrow wants its file open when it ends
            rows.finish()


def values_of(column: Any) -> np.ndarray:
    """The numbers of a column of lists of fixed length."""
    shape, flat = [len(column)], column.combine_chunks()
    while hasattr(flat.type, "list_size"):
        shape.append(flat.type.list_size)
        flat = flat.flatten()
    return flat.to_numpy().reshape(shape)
