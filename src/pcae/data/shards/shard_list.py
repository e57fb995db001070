"""Which shards a stream has and how many samples each: all that is held of it, and the index file that says so."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from pcae.data.shards.names import of_split
from pcae.data.shards.remote import check_address, fetch, is_address, size_of
from pcae.data.shards.samples import WALKS, count_samples, other_column
from pcae.settings.choices import Split
from pcae.settings.reading import THREADS
from pcae.settings.values import expand

KIND = {"__kind__": "wids-shard-index-v1", "wids_version": 1}
"""What an index file says that it is: WebDataset's own form."""
MOST_INDEX = 2**28
"""Bytes of an index file: two million shards."""


@dataclass(frozen=True, eq=False)
class ShardList:
    """Shards by path or address, and the samples of each; rows are numbered through, in this order.

    root: what all paths begin with; it says where they lie, not which they are.
    """

    paths: Sequence[str]
    counts: Int[np.ndarray, " shards"]
    root: str

    @cached_property
    def ends(self) -> Int[np.ndarray, " shards"]:
        """The row behind the last one of each shard."""
        return np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def locate(self, row: int) -> tuple[int, int]:
        """The shard of a row, and its place there."""
        shard = int(np.searchsorted(self.ends, row, side="right"))
        return shard, row - self.first(shard)

    def first(self, shard: int) -> int:
        """The row with which a shard begins."""
        return int(self.ends[shard] - self.counts[shard])

    def name(self, row: int) -> str:
        """The path of a sample's shard, and its number there: its own name is known when it is read."""
        shard, place = self.locate(row)
        return f"{self.paths[shard]}/{place}"

    def short(self, shard: int) -> str:
        """The name of a shard below the place where all of them lie."""
        return self.paths[shard].removeprefix(self.root).lstrip("/\\")

    def rows_of(self, samples: Mapping[str, str]) -> dict[int, str]:
        """What is known of samples by name (a shard's, and the row in it), by row, as far as they are here."""
        shards = {self.short(shard): shard for shard in range(len(self.paths))}
        found = {}
        for name, known in samples.items():
            shard, _, row = name.rpartition("/")
            if shard in shards and row.isdecimal() and int(row) < self.counts[shards[shard]]:
                found[self.first(shards[shard]) + int(row)] = known
        return found

    def digest(self) -> str:
        """A fingerprint of which samples these are, in which order, wherever they lie.

        A column of images other than the first is part of it: runs that began when streams read the first one do not
        resume.
        """
        digest = hashlib.blake2b(digest_size=8)
        for shard, samples in enumerate(self.counts.tolist()):
            digest.update(f"{self.short(shard)}\t{samples}\n".encode("utf-8", "surrogateescape"))
        digest.update(other_column(self.paths[0]).encode())
        return digest.hexdigest()

    def some(self, most: int, few: int = 16) -> list[int]:
        """At most `most` rows: the first ones of a few shards, spread over the list."""
        there = np.flatnonzero(self.counts)
        chosen = there[np.linspace(0, len(there) - 1, min(few, most, len(there))).astype(int)].tolist()
        rows = []
        for number, shard in enumerate(chosen):
            share = -(-(most - len(rows)) // (len(chosen) - number))
            rows += range(self.first(shard), self.first(shard) + min(share, int(self.counts[shard])))
        return rows


def shard_list(counts: Mapping[str, int], data: str) -> ShardList:
    """The shards with these numbers of samples. Raises ValueError when they hold none."""
    if sum(counts.values()) < 1:
        raise ValueError(f"data {data!r} holds no samples: its shards are empty")
    paths = list(counts)
    prefix = os.path.commonprefix([path.rpartition("/")[0] + "/" for path in paths])  # noqa: RUF071  # up to a slash
    root = prefix.rpartition("/")[0]
    return ShardList(paths, np.array(list(counts.values()), dtype=np.int64), root)


def count_all(paths: list[str], threads: int = THREADS, follow: Any = iter) -> dict[str, int]:
    """The samples of each shard, read off headers by many threads at once. follow: shows how far it is.

    Raises ValueError for a shard that cannot be read.
    """
    with ThreadPoolExecutor(threads) as pool:
        counts = pool.map(count_samples, paths)
        try:
            return {paths[number]: next(counts) for number in follow(range(len(paths)))}
        finally:  # at the first fault, what has not begun is taken back
            pool.shutdown(cancel_futures=True)


def read_index(data: str, split: Split) -> ShardList:
    """The shards of a split that an index file names, by path or address. Raises ValueError for one that is none."""
    text = read_whole(data)
    try:
        index = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"index {data!r} is no JSON; write it by pcae index") from error
    counts = checked(index, data)
    every = shard_list(counts, data)

    def lies_in(path: str, folder: str) -> bool:
        return path.removeprefix(every.root).lstrip("/\\").lower().startswith(f"{folder}/")

    chosen = of_split(of_split(every.paths, split, lies_in), split)
    return shard_list({path: counts[path] for path in chosen}, data)


def read_whole(data: str) -> bytes:
    """All of an index file. Raises ValueError when it cannot be read, or is too large for one."""
    try:
        size = size_of(data) if is_address(data) else Path(data).stat().st_size
    except OSError as error:
        raise ValueError(f"index {data!r} cannot be read: {error.strerror}; check the path") from error
    if size > MOST_INDEX:
        raise ValueError(f"index {data!r} has {size:,} bytes, more than {MOST_INDEX:,}; make fewer, larger shards")
    return fetch(data, 0, size) if is_address(data) else Path(data).read_bytes()


def checked(index: Any, data: str) -> dict[str, int]:
    """The path or address of every shard of an index, and its samples. Raises ValueError for what cannot be."""
    if not isinstance(index, dict) or any(index.get(name) != value for name, value in KIND.items()):
        raise ValueError(f"index {data!r} is not of the kind {KIND['__kind__']}, version 1; write it by pcae index")
    shards = index.get("shardlist")
    if not isinstance(shards, list) or not shards:
        raise ValueError(f"index {data!r} has no shards under 'shardlist'; write it by pcae index")
    counts: dict[str, int] = {}
    for number, shard in enumerate(shards):
        url, samples = (shard.get(name) for name in ("url", "nsamples")) if isinstance(shard, dict) else (None, None)
        if type(url) is not str or type(samples) is not int or not 0 <= samples < 2**40:
            raise ValueError(f"index {data!r}, shard {number}: a 'url' and a number of 'nsamples' are wanted")
        path = placed(url, data)
        if path in counts:
            raise ValueError(f"index {data!r} names {url!r} twice; each sample is to be seen once")
        counts[path] = samples
    return counts


def placed(url: str, data: str) -> str:
    """Where a shard lies that an index names: at an address, at a path on this machine, or beside the index.

    Raises ValueError for a name that leads elsewhere: up from the index, or from an address to this machine.
    """
    if not url.lower().endswith(tuple(WALKS)):
        raise ValueError(f"index {data!r} names {url!r}, which is no {' or '.join(WALKS)}")
    if is_address(url):
        check_address(url)
        return url
    if ".." in url.replace("\\", "/").split("/") or (url.startswith("/") and is_address(data)) or "\0" in url:
        raise ValueError(f"index {data!r} names {url!r}, which leads elsewhere; name shards below the index")
    folder = data.rpartition("/")[0]
    return url if url.startswith("/") else f"{folder}/{url}" if folder else url


def index_text(counts: Mapping[str, int], out: Path) -> str:
    """The index file of shards, which lies at `out`: those below its folder are named from there."""
    folder = f"{os.path.dirname(os.path.abspath(out))}/"  # noqa: PTH100, PTH120
    shards = [
        {"url": path if is_address(path) else os.path.abspath(expand(path)).removeprefix(folder), "nsamples": samples}  # noqa: PTH100  # without ..
        for path, samples in counts.items()
    ]
    return json.dumps({**KIND, "name": out.stem, "shardlist": shards}, indent=1) + "\n"
