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
from pcae.data.tables.labels import Label, Said, one_each
from pcae.data.tables.listing import Listing, is_image, kind_of
from pcae.terminal import is_main_process, warn

MOST_OPEN = 64
"""Shards that a process keeps open."""
MOST_TEXT = 2**24
"""Bytes of a .cls or .json; more is no label."""
COMPRESSED = (b"\x1f\x8b", b"BZh91AY", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How gzip, bzip2, xz and zstd files begin."""
MOST_KINDS = 16
"""Images that a sample may have beside one another: kinds, or views, with the same suffixes in all samples."""
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
class Crowds:
    """Samples of several images, none of them with a plain suffix, so that one counts and the others do not.

    Names with dots look like that: 2024.05.01_0000.jpg and 2024.05.01_0001.jpg are one sample, 2024. So do kinds of
    images, as rgb.png and depth.png; but then the samples have the same few suffixes.
    """

    samples: int = 0
    images: int = 0
    suffixes: set[str] = field(default_factory=set)
    first: str = ""
    twice: str = ""

    def add(self, pictures: Sequence[Member]) -> None:
        """The images of one more sample."""
        counts = Counter(member.suffix for member in pictures)
        self.twice = self.twice or next((member.name for member in pictures if counts[member.suffix] > 1), "")
        is_plain = any("." not in member.suffix for member in pictures) and len(pictures) <= MOST_KINDS
        if len(pictures) < 2 or is_plain:
            return
        self.first = self.first or f"{pictures[0].name!r} and {pictures[1].name!r}"
        self.samples, self.images = self.samples + 1, self.images + len(pictures)
        for member in pictures[: MOST_KINDS + 1]:
            if len(self.suffixes) <= MOST_KINDS:
                self.suffixes.add(member.suffix)

    def check(self, path: str) -> None:
        """Raise ValueError, with the remedy, where names have dots and are no kinds of images: words, or the same ones
        in all samples; and for a name that stands twice in one."""
        if self.twice:
            raise ValueError(
                f"shard {path!r} has {self.twice!r} twice beside one another, of which one image would be lost; write "
                "the names anew, each once"
            )
        kinds, words = len(self.suffixes), not any(re.search(r"\d.*\.", suffix) for suffix in self.suffixes)
        shared = self.samples > 1 and 2 * self.images > kinds * self.samples
        if self.samples and (kinds > MOST_KINDS or not (words or shared)):
            raise ValueError(
                f"shard {path!r} would lose {self.lost:,} images: {self.first} are one sample to WebDataset, since "
                "their names agree up to the first dot; write the names anew with no dot but that before the suffix"
            )

    @property
    def lost(self) -> int:
        """Images that do not count."""
        return self.images - self.samples

    def say(self) -> None:
        """Remark on images that do not count."""
        if self.samples and is_main_process():
            warn(f"{self.lost:,} images are left out: {self.first} are one sample, of which the first image counts")


@dataclass
class Found:
    """What the shards hold, as they are read one by one: 28 bytes (`ROW`) an image beside its name."""

    rows: bytearray = field(default_factory=bytearray)
    text: bytearray = field(default_factory=bytearray)
    labels: list[Label] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)
    crowds: Crowds = field(default_factory=Crowds)

    def add(self, shard: int, image: Member, label: Label) -> None:
        """One more image; equal labels are one string."""
        self.text += image.name.encode("utf-8", "surrogateescape")
        self.rows += np.array((shard, image.offset, image.size, len(self.text)), ROW).tobytes()
        self.labels.append(self.words.setdefault(label, label) if isinstance(label, str) else label)


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
        found.crowds.check(path)
    found.crowds.say()
    index, rows = Index(paths, np.frombuffer(found.rows, ROW), bytes(found.text)), range(len(found.labels))
    names = Lazy(index.name, rows)
    labels, fault = one_each(found.labels, lambda row: names[row].removeprefix(root), "samples")
    said = Said(found.labels, "samples") if any(found.labels) else None
    return Listing(Lazy(index.read, rows), names, labels, root, found.others, unlabelled=fault, said=said)


def open_shard(path: str) -> OpenShard:
    """A shard to read. Raises ValueError when it may not be read."""
    try:
        return OpenShard(path)
    except OSError as error:
        raise ValueError(f"shard {path!r} cannot be read: {error.strerror}") from error


def add_sample(found: Found, number: int, shard: OpenShard, members: list[Member]) -> None:
    """Put the image of a sample and its label to what was found; count what is neither, by how its name ends."""
    pictures = [member for member in members if is_image(member.name)]
    image = min(pictures, key=lambda member: member.suffix.count("."), default=None)
    labels = [member for member in members if member.suffix in {"cls", "json"}] if image else []
    for member in members:
        if member is not image and member not in labels:
            found.others[kind_of(f".{member.suffix}")] += 1
    if image:
        found.crowds.add(pictures)
        found.add(number, image, label_of(shard, labels))


def label_of(shard: OpenShard, members: Iterable[Member]) -> Label:
    """The label that the .cls or else the .json of a sample says. Raises ValueError for one that is too large."""
    for member in sorted(members, key=lambda member: member.suffix):
        if member.size > MOST_TEXT:
            raise ValueError(f"label {member.name!r} has {member.size:,} bytes, more than {MOST_TEXT:,}; shorten it")
        text = shard.read(member.offset, member.size)
        label = text.decode("utf-8", "replace").strip() if member.suffix == "cls" else json_label(text)
        if label:
            return label
    return None


def json_label(text: bytes) -> Label:
    """What stands under "label" or "cls": a name or a whole number, or a list of them."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):  # the latter for a thousand brackets
        return None
    both = [values.get(key) for key in ("label", "cls")] if isinstance(values, dict) else []
    for value in both:
        if isinstance(value, list) and value and all(type(one) in {int, str} for one in value):
            return [str(one) for one in value]
        if type(value) in {int, str}:
            return str(value)
    return None


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
