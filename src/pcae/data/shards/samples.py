"""A shard from its first sample to its last: the image of each, read when it is wanted."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pcae.data.files.bounds import MOST_BYTES
from pcae.data.shards.columns import WITH_BYTES, usual
from pcae.data.shards.remote import CHUNK, SMALL_CHUNK, RemoteShard, SourceGone, Unreachable, is_address
from pcae.data.shards.tar import AnyShard, Crowds, Member, open_shard, samples_of
from pcae.data.tables.listing import is_image

ROWS = 16
"""Rows of a .parquet that are taken from its pages at once."""


class Sample(NamedTuple):
    """The image of a sample: its name in the shard, and its bytes, or why there are none."""

    name: str
    content: bytes
    fault: str = ""


class BrokenShard(SourceGone):
    """A shard of a stream that cannot be read, or does not hold what it should."""


Wanted = Callable[[], int]
"""The row that is wanted next: those before it are passed over, unread where that saves anything."""


def tar_samples(shard: AnyShard, path: str, wanted: Wanted) -> Iterator[tuple[int, Sample]]:
    """The samples of a tar by row, as `list_shards` has them. Raises ValueError for a shard that is none.

    An image is read when its header comes by, before the next header is: a reader at an address goes forward only.
    """
    for row, members in enumerate(samples_of(path, shard, Counter())):
        found: tuple[int, Sample] | None = None
        for member in members:
            dots = member.suffix.count(".")
            if row >= wanted() and is_image(member.name) and (found is None or dots < found[0]):
                found = dots, read_member(shard, path, member)
        if row >= wanted():
            yield row, found[1] if found else Sample("", b"", "the sample has no image")


def read_member(shard: AnyShard, path: str, member: Member) -> Sample:
    """An image of a tar. Raises ValueError when the shard ends before it does."""
    if member.size > MOST_BYTES:
        fault = f"its {member.size:,} bytes are more than are safe to read ({MOST_BYTES:,})"
        return Sample(member.name, b"", fault)
    content = shard.read(member.offset, member.size)
    if len(content) < member.size:
        raise ValueError(f"shard {path!r} is cut off, damaged or no .tar file (in {member.name!r}); copy it again")
    return Sample(member.name, content)


def parquet_samples(shard: AnyShard, path: str, wanted: Wanted) -> Iterator[tuple[int, Sample]]:
    """The rows of a .parquet. Raises ValueError when it is none, or has no column of images."""
    try:
        file = open_parquet(shard)
        column, first = image_column(file, path), 0
        check_bytes(file, column, path)
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if first + rows > wanted():
                yield from group_samples(file, group, first, column, wanted)
            first += rows
    except (Unreachable, BrokenShard):
        raise
    except Exception as error:  # strangers' files make errors of every kind
        reason = " ".join(str(error).split())
        raise ValueError(f"shard {path!r} is cut off, damaged or no .parquet file ({reason}); copy it again") from error


def group_samples(file: Any, group: int, first: int, column: str, wanted: Wanted) -> Iterator[tuple[int, Sample]]:
    """The images of a part of a .parquet whose first row is `first`."""
    row = first
    for batch in file.iter_batches(ROWS, row_groups=[group], columns=[f"{column}.bytes"]):
        for content in batch.column(0).field("bytes").to_pylist():
            if row >= wanted():
                yield row, Sample("", content or b"", "" if content else "the row has no image")
            row += 1


def open_parquet(shard: AnyShard) -> Any:
    """A .parquet to read, page by page."""
    from pyarrow.parquet import ParquetFile

    return ParquetFile(shard.file, buffer_size=CHUNK)


def image_column(file: Any, path: str) -> str:
    """The column of images, of several the `usual` one. Raises BrokenShard when there is none."""
    return usual(image_columns(file, path))


def image_columns(file: Any, path: str) -> list[str]:
    """The columns that hold images by Hugging Face's note in the file, else all that hold bytes.

    Raises BrokenShard when there is none.
    """
    columns = {field.name: field.type for field in file.schema_arrow if holds_bytes(field.type)}
    said = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    kinds = {name: kind.get("_type") for name, kind in said.get("info", {}).get("features", {}).items()}
    named = [[name for name in columns if kinds.get(name) == word] for word in ("Image", None)]
    if not any(named):
        names = ", ".join(file.schema_arrow.names)
        raise BrokenShard(f"shard {path!r} has no column of images (of bytes and path), only {names}")
    return named[0] or named[1]


def other_column(path: str) -> str:
    """The column of images of a .parquet where that is not the first, which streams read before; else nothing.

    Raises ValueError for a shard that is none.
    """
    if suffix_of(path) != ".parquet":
        return ""
    columns = image_columns(open_parquet(open_any(path, SMALL_CHUNK)), path)
    return "" if usual(columns) == columns[0] else usual(columns)


def check_bytes(file: Any, column: str, path: str) -> None:
    """Raise BrokenShard, with the remedy, where the file says of itself that it has paths of images and no bytes."""
    place = [name for name in range(len(file.schema)) if file.schema.column(name).path == f"{column}.bytes"]
    groups = [file.metadata.row_group(group).column(place[0]) for group in range(file.num_row_groups)]
    empty = [group.statistics is not None and group.statistics.null_count == group.num_values for group in groups]
    if groups and all(empty):
        raise BrokenShard(
            f"shard {path!r} has paths of images, not their bytes; {WITH_BYTES.replace('FILES', repr(path))}, and give "
            "hf:FOLDER"
        )


def holds_bytes(kind: Any) -> bool:
    """Whether a column has the form of Hugging Face's images."""
    from pyarrow import types

    if not types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return types.is_binary(inner) or types.is_large_binary(inner)


WALKS = {".tar": tar_samples, ".parquet": parquet_samples}
"""How the samples of a shard are walked through, by the end of its name."""


def suffix_of(path: str) -> str:
    """The kind of a shard."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def open_any(path: str, chunk: int = CHUNK) -> AnyShard:
    """A shard on a disk or at an address. Raises ValueError when it cannot be read."""
    return RemoteShard(path, chunk) if is_address(path) else open_shard(path)


def count_samples(path: str) -> int:
    """The samples of a shard, read off its headers. Raises ValueError for a shard that is none."""
    shard = open_any(path, SMALL_CHUNK)
    if suffix_of(path) == ".tar":
        return count_tar(path, shard)
    for _ in parquet_samples(shard, path, lambda: 2**62):
        pass
    return open_parquet(shard).metadata.num_rows


def count_tar(path: str, shard: AnyShard) -> int:
    """The samples of a tar. Raises ValueError where images would be lost (`Crowds`)."""
    count, crowds = 0, Crowds()
    for members in samples_of(path, shard, Counter()):
        crowds.add([member for member in members if is_image(member.name)])
        count += 1
    crowds.check(path)
    return count
