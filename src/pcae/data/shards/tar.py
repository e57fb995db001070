"""WebDataset shards: the headers of tar files read once, images by their place when asked for, nothing unpacked."""

import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pcae.data.files.bounds import MOST_BYTES
from pcae.data.lazy import Lazy, row_bytes
from pcae.data.shards.remote import RemoteShard, Unreachable
from pcae.data.tables.listing import Listing, is_image

MOST_OPEN = 64
"""Shards that a process keeps open."""
MOST_TEXT = 2**24
"""Bytes of a .cls or .json; more is no label."""
COMPRESSED = (b"\x1f\x8b", b"BZh91AY", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How gzip, bzip2, xz and zstd files begin."""
ROW = np.dtype([("shard", "<i4"), ("offset", "<i8"), ("size", "<i8"), ("name_end", "<i8")])
"""An image of several shards: the number of its shard, its place and size in bytes, and where its name ends."""
SAMPLE = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)$", re.DOTALL)
"""A member's name: all up to the first dot of its last part is the sample's, the rest says what of it."""


class Member(NamedTuple):
    """A file in a shard: its name, its sample's name, its suffix after that, and where its bytes are."""

    name: str
    sample: str
    suffix: str
    offset: int
    size: int


class OpenShard:
    """A shard, open until nobody wants it any more."""

    def __init__(self, path: str) -> None:
        self.file = Path(path).open("rb", buffering=0)  # noqa: SIM115  # __del__ closes it

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at a place; no position is kept, so that processes may share the file."""
        return os.pread(self.file.fileno(), size, offset)


AnyShard = OpenShard | RemoteShard


@dataclass(frozen=True, eq=False)
class Index:
    """Where the images of all shards are (`ROW`), and all their names end to end.

    Each process opens the shards that it reads from, when it does.
    """

    paths: Sequence[str]
    rows: np.ndarray
    text: bytes

    def __reduce__(self) -> tuple[type, tuple[Sequence[str], np.ndarray, bytes]]:
        return type(self), (self.paths, self.rows, self.text)

    @cached_property
    def open(self) -> Callable[[str], OpenShard]:
        """A shard by its path; the last ones stay open. Raises OSError when it is gone."""
        return lru_cache(MOST_OPEN)(OpenShard)

    def read(self, row: int) -> bytes:
        """The bytes of an image. Raises OSError when its shard is gone, ValueError when it is too large."""
        shard, offset, size, _ = self.rows[row].item()
        if size > MOST_BYTES:
            raise ValueError(f"its {size:,} bytes are more than are safe to read ({MOST_BYTES:,})")
        return self.open(self.paths[int(shard)]).read(offset, size)

    def name(self, row: int) -> str:
        """The path of an image's shard and the image's name in it."""
        name = row_bytes(self.text, self.rows, "name_end", row).decode("utf-8", "surrogateescape")
        return f"{self.paths[self.rows[row]['shard']]}/{name}"


@dataclass
class Found:
    """What the shards hold, as they are read one by one: 28 bytes (`ROW`) an image beside its name."""

    rows: bytearray = field(default_factory=bytearray)
    text: bytearray = field(default_factory=bytearray)
    labels: list[str | None] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)

    def add(self, shard: int, image: Member, label: str | None) -> None:
        """One more image; equal labels are one string."""
        self.text += image.name.encode("utf-8", "surrogateescape")
        self.rows += np.array((shard, image.offset, image.size, len(self.text)), ROW).tobytes()
        self.labels.append(label if label is None else self.words.setdefault(label, label))


def list_shards(paths: Sequence[str], root: str) -> Listing:
    """The images of shards, in the order in which they stand there. Raises ValueError for a shard that is none.

    Neighbours whose names agree up to the first dot of the last part are one sample, as WebDataset has it. Its first
    image counts, one with a plain suffix before one with two (0001.jpg before 0001.mask.png); its label is the text
    in .cls, or "label" or "cls" in .json. Links, devices and hidden files are not followed and not read.
    """
    found = Found()
    for number, path in enumerate(paths):
        shard = open_shard(path)
        for members in samples_of(path, shard, found.others):
            add_sample(found, number, shard, list(members))
    known = [label for label in found.labels if label is not None]
    labels = known if known and len(known) == len(found.labels) else None
    index, rows = Index(paths, np.frombuffer(found.rows, ROW), bytes(found.text)), range(len(found.labels))
    return Listing(Lazy(index.read, rows), Lazy(index.name, rows), labels, root, found.others)


def open_shard(path: str) -> OpenShard:
    """A shard to read. Raises ValueError when it may not be read."""
    try:
        return OpenShard(path)
    except OSError as error:
        raise ValueError(f"shard {path!r} cannot be read: {error.strerror}") from error


def add_sample(found: Found, number: int, shard: OpenShard, members: list[Member]) -> None:
    """Put the image of a sample and its label to what was found; count what is neither."""
    pictures = [member for member in members if is_image(member.name)]
    image = min(pictures, key=lambda member: member.suffix.count("."), default=None)
    labels = [member for member in members if member.suffix in {"cls", "json"}] if image else []
    found.others.update(f".{member.suffix}" for member in members if member is not image and member not in labels)
    if image:
        found.add(number, image, label_of(shard, labels))


def label_of(shard: OpenShard, members: Iterable[Member]) -> str | None:
    """The label that the .cls or else the .json of a sample says. Raises ValueError for one that is too large."""
    for member in sorted(members, key=lambda member: member.suffix):
        if member.size > MOST_TEXT:
            raise ValueError(f"label {member.name!r} has {member.size:,} bytes, more than {MOST_TEXT:,}; shorten it")
        text = shard.read(member.offset, member.size)
        label = text.decode("utf-8", "replace").strip() if member.suffix == "cls" else json_label(text)
        if label:
            return label
    return None


def json_label(text: bytes) -> str | None:
    """What stands under "label" or "cls", if it is a name or a whole number."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):  # the latter for a thousand brackets
        return None
    both = [values.get(key) for key in ("label", "cls")] if isinstance(values, dict) else []
    return next((str(value) for value in both if type(value) in {int, str}), None)


def samples_of(path: str, shard: AnyShard, others: Counter[str]) -> Iterator[Iterator[Member]]:
    """The members of each sample (`members_of`): neighbours whose names agree up to the first dot of the last part."""
    return (members for _, members in groupby(members_of(path, shard, others), key=attrgetter("sample")))


def members_of(path: str, shard: AnyShard, others: Counter[str]) -> Iterator[Member]:
    """The regular files of a tar that belong to samples, in order; other members are counted.

    Raises ValueError when it is compressed, no tar, or cut off.
    """
    if shard.read(0, 8).startswith(COMPRESSED):
        raise ValueError(f"shard {path!r} is compressed; unpack it: only plain .tar files can be read in any order")
    try:
        shard.file.seek(0)
        with tarfile.open(fileobj=shard.file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while member := tar.next():
                tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]  # a million would take a gigabyte
                parts = SAMPLE.match(member.name)
                if member.size < 0:  # older Pythons would go back and read it for ever
                    raise tarfile.ReadError(f"a member of {member.size} bytes")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    others["links or devices"] += 1
                elif parts is None:
                    others["without suffix or hidden"] += 1
                else:
                    name = member.name.removeprefix("./")
                    yield Member(name, parts[1], parts[2].lower(), member.offset_data, member.size)
            end = tar.offset
        if shard.read(end, tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no end after {end} bytes")
    except Unreachable:
        raise
    except Exception as error:  # strangers' files make errors of every kind
        raise ValueError(f"shard {path!r} is cut off, damaged or no .tar file ({error}); copy it again") from error
