"""Cells of tables in words: of .csv and .tsv by the standard library, of .parquet by pyarrow."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLES, PARQUET = (".csv", ".tsv"), ".parquet"


def text_of(path: Path) -> str:
    """All of a list, in UTF-8, or in UTF-16 where it says so. Raises ValueError when it cannot be read."""
    try:
        content = path.read_bytes()
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        return content.decode("utf-8-sig", "surrogateescape")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a list of files: {error}") from error


def rows_of(text: str, separator: str, path: Path) -> Iterator[list[str]]:
    """The rows of a table, with the header. Raises ValueError when it is none."""
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a list of files: {error}") from error


def columns_in(path: Path) -> Iterator[list[str]]:
    """The rows of a .parquet in words, with the header; columns of lists and bytes are left out."""
    from pyarrow import ArrowException, compute, parquet, string, types

    try:
        file = parquet.ParquetFile(path)
        names = [one.name for one in file.schema_arrow if not types.is_nested(one.type) and not is_bytes(one.type)]
        yield names
        for batch in file.iter_batches(columns=names):
            columns = [compute.fill_null(compute.cast(one, string()), "").to_pylist() for one in batch.columns]
            yield from map(list, zip(*columns, strict=True))
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as a table of files: {' '.join(str(error).split())}") from error


def is_bytes(kind: Any) -> bool:
    """Whether a column holds bytes."""
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def names_files(path: Path) -> bool:
    """Whether a .parquet is a table of names: it has no column of images, be it bytes or bytes and path."""
    from pyarrow import ArrowException, parquet, types

    try:
        kinds = parquet.read_schema(path).types
    except (ArrowException, OSError):
        return False
    return not any(is_bytes(kind) or types.is_struct(kind) for kind in kinds)
