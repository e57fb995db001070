"""Streams: shards that are read in order, from a disk or an address, by an index file or by their own counts."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from pcae.data.lazy import Lazy
from pcae.data.shards.hugging_face import PREFIX, parquet_files
from pcae.data.shards.names import braces, matching, of_split
from pcae.data.shards.remote import check_address, is_address
from pcae.data.shards.samples import WALKS, BrokenShard, Sample, open_any, suffix_of
from pcae.data.shards.shard_list import ShardList, count_all, read_index, shard_list
from pcae.data.tables.listing import Listing, list_folder, list_split
from pcae.settings.choices import Split
from pcae.settings.values import expand

INDEX = ".json"
MOST_SHARDS = 1_000_000


class Reader:
    """Samples by shard and row. The shard that was read last stays open, so that reading in order is cheap."""

    def __init__(self, shards: ShardList) -> None:
        self.shards = shards
        self.place = (-1, 0, 0)  # the shard, the process that opened it, the row that is next
        self.samples: Iterator[tuple[int, Sample]] = iter(())

    def __reduce__(self) -> tuple[type, tuple[ShardList]]:
        return type(self), (self.shards,)

    def image(self, row: int) -> bytes:
        """The bytes of an image by its row in the stream. Raises ValueError, with the reason, where there are none."""
        sample = self.read(*self.shards.locate(row))
        if sample.fault:
            raise ValueError(sample.fault)
        return sample.content

    def read(self, shard: int, row: int) -> Sample:
        """A sample. Raises BrokenShard for a shard that cannot be read or has more samples, or fewer, than it should.

        More can only be seen where the last one is read.
        """
        (last, process, next_row), own = self.place, os.getpid()  # a fork shares the position in an open file
        self.place, path, count = (shard, own, row), self.shards.paths[shard], self.shards.counts[shard]
        try:
            if (last, process) != (shard, own) or row < next_row:
                self.samples = WALKS[suffix_of(path)](open_any(path), path, lambda: self.place[2])
            found = next(self.samples, None)
            more = found is not None and row + 1 == count and next(self.samples, None) is not None
        except (OSError, ValueError) as error:
            self.place = (-1, 0, 0)
            raise BrokenShard(str(error)) from error
        if found is None or more:
            self.place = (-1, 0, 0)
            raise BrokenShard(
                f"shard {path!r} has {'more' if more else 'fewer'} samples than the {count} that it should have; write "
                "its index anew (pcae index), or copy it again"
            )
        self.place = shard, own, row + 1
        return found[1]


def is_stream(data: str) -> bool:
    """Whether DATA is read as a stream without being asked to: an index file, or at an address."""
    return is_address(data) or data.lower().endswith(INDEX)


def list_stream(data: str, split: Split) -> Listing:
    """The images of a stream, of which nothing is held but its shards. Raises ValueError with the remedy."""
    shards = shards_of(data, split)
    rows = range(len(shards))
    return Listing(Lazy(Reader(shards).image, rows), Lazy(shards.name, rows), None, shards.root, stream=shards)


def shards_of(data: str, split: Split) -> ShardList:
    """The shards of a split, with their counts: from an index, else read off the shards themselves."""
    if data.lower().endswith(INDEX):
        return read_index(data if is_address(data) else str(expand(data)), split)
    if is_address(data):
        paths = addresses(data)
        if any(path.lower().endswith(".tar") for path in paths):
            raise ValueError(
                f"data {data!r} is read by an index, which says how many samples each shard has; write it by "
                "pcae index SHARDS OUT.json, and give that"
            )
    elif data.startswith(PREFIX):
        return shard_list(count_all(parquet_files(data, split)), data)
    else:
        paths = local_shards(data, split)
    return shard_list(count_all(of_split(paths, split)), data)


def every_shard(data: str) -> list[str]:
    """All shards that a folder, a path, an address or a pattern of them names, of whatever split."""
    return addresses(data) if is_address(data) else local_shards(data, None)


def addresses(data: str) -> list[str]:
    """What a pattern of addresses stands for. Raises ValueError for what is none of a shard, or too many."""
    check_address(data)
    paths = list(islice(braces(data), MOST_SHARDS + 1))
    if len(paths) > MOST_SHARDS:
        raise ValueError(f"data {data!r} names more than {MOST_SHARDS:,} shards; make fewer, larger ones")
    odd = next((path for path in paths if not is_shard(path)), None)
    if odd is not None:
        raise ValueError(f"address {odd!r} is no shard ({', '.join(WALKS)}) and no index ({INDEX}) of them")
    return paths


def local_shards(data: str, split: Split | None) -> list[str]:
    """The shards that a path on this machine names. Raises ValueError when there are none."""
    path = expand(data)
    if path.is_dir():
        found = list_split(path, split, is_shard) if split else list_folder(path, wanted=is_shard)
        paths: Sequence[str] = found.names
    else:
        paths = matching(str(path)) if is_shard(data) and ("{" in data or Path(path).is_file()) else []
    if not paths:
        kinds = ", ".join(WALKS)
        raise ValueError(f"data {data!r} cannot be streamed: it is no {kinds} file and holds none; check the path")
    return list(paths)


def is_shard(name: str) -> bool:
    """Whether a file's name is that of a shard that can be streamed."""
    return name.lower().endswith(tuple(WALKS))
