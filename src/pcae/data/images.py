"""The images that DATA names: files, shards, packed ones and the reserved words, each opened when asked for."""

import difflib
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from pcae.data import sample
from pcae.data.files.decode import (
    Box,
    Choose,
    PixelRange,
    Planes,
    Source,
    Unreadable,
    check_pixel_range,
    decode_part,
    located,
    reason_of,
    whole,
)
from pcae.data.lazy import pick
from pcae.data.packed.reading import as_packed, from_array
from pcae.data.shards.hugging_face import PREFIX
from pcae.data.shards.samples import BrokenShard
from pcae.data.shards.shard_list import ShardList
from pcae.data.sources import list_data
from pcae.settings.choices import Split
from pcae.settings.values import expand

RESERVED = {"sample": sample.sample, "fashion-mnist": sample.fashion_mnist}


@dataclass(frozen=True)
class Images:
    """Images that can be opened one by one.

    items: paths of files, or what reads all of a file's bytes when asked for, or uint8 arrays of height x width
    or height x width x channels.
    names: one an image, a file's path. labels: class of each, where known. root: what all names begin with.
    pixel_range: values of 16-bit and float pixels that become 0 and 255. others: files beside them that are no images,
    by suffix. stream: the shards that all of them are read from in order; nothing is held of each image then.
    """

    items: Sequence[Any] | np.ndarray  # of Source; a check of lazy ones at run time would read them
    names: Sequence[str]
    labels: Sequence[int] | None
    classes: Sequence[str]
    channels: int
    root: str = ""
    pixel_range: PixelRange | None = None
    others: Mapping[str, int] = field(default_factory=dict)
    stream: ShardList | None = None

    def __len__(self) -> int:
        return len(self.items)

    def digest(self) -> str:
        """A fingerprint of which images these are, in which order, wherever they lie."""
        if self.stream is not None:
            return self.stream.digest()
        digest = hashlib.blake2b(digest_size=8)
        for index in range(len(self)):
            digest.update(("\n" * (index > 0) + self.short(index)).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def short(self, index: int) -> str:
        """The name of an image below the folder that all lie in: it stays when the data move."""
        return self.names[index].removeprefix(self.root).lstrip("/\\")

    def some(self, most: int) -> list[int]:
        """At most `most` indices, spread over the images; over a stream, the first ones of a few of its shards."""
        return spread(len(self), most) if self.stream is None else self.stream.some(most)

    def without(self, indices: Collection[int]) -> "Images":
        """The images but those at these indices."""
        if not indices:
            return self
        rows = np.delete(np.arange(len(self)), list(indices))
        items = self.items[rows] if isinstance(self.items, np.ndarray) else pick(self.items, rows)
        labels = pick(self.labels, rows) if self.labels is not None else None
        return replace(self, items=items, names=pick(self.names, rows), labels=labels, stream=None)

    def source(self, index: int) -> Source | np.ndarray:
        """The image as it is stored: the path of its file, all of its bytes, or an array. Raises Unreadable.

        Raises BrokenShard where no image of a stream's shard can be read any more.
        """
        try:
            return self.items[index]
        except BrokenShard:
            raise
        except (OSError, ValueError) as error:  # its shard is gone
            raise Unreadable(self.names[index], reason_of(error)) from error

    def open(self, index: int) -> Planes:
        """The image, upright, with this source's channels. Raises Unreadable naming a file that cannot be read."""
        return self.open_part(index, whole)[0]

    def open_part(self, index: int, choose: Choose) -> tuple[Planes, Box]:
        """The image, reduced where a part of it is wanted smaller (`decode_part`), and the part's box in it."""
        return self.part_of(self.source(index), choose, self.names[index])

    def part_of(self, source: Source | np.ndarray, choose: Choose, name: str) -> tuple[Planes, Box]:
        """A part of an image of this source that is at hand as it is stored, as `open_part` has it."""
        if isinstance(source, np.ndarray):
            return located(from_array(source, self.channels), choose)
        return decode_part(source, self.channels, choose, self.pixel_range, name)


def open_images(
    data: str,
    split: Split = "train",
    channels: int | None = None,
    pixel_range: PixelRange | None = None,
    stream: bool = False,
) -> Images:
    """The images that DATA names: `sample`, `fashion-mnist`, a folder (flat or nested) of images or of WebDataset
    shards, a packed folder, a .txt or .csv list, an image, a .tar or a pattern of them, `hf:NAME`, a Hugging Face data
    set, or the .json index of shards, which are read in order: a stream. stream: so are other shards.

    A folder with train and val (or valid, validation, test) folders inside, or shards so named, has those splits; with
    one of them, train is the rest or test the same; without, all of it is both.
    Labels are the folders under it, a column of a csv, or what shards and data sets say. Raises ValueError with the
    remedy.
    """
    if channels is not None and channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    check_pixel_range(pixel_range)
    if data in RESERVED and not stream:
        return reserved(data, split, channels or 1)
    near = difflib.get_close_matches(data, RESERVED, n=1)
    if near and not stream and not data.startswith(PREFIX) and not expand(data).exists():
        raise ValueError(f"data {data!r} is neither a folder, a file, nor a word; did you mean {near[0]!r}?")
    found = list_data(data, split, stream)
    channels, pixel_range = as_packed(data, found, channels, pixel_range)
    classes = found.classes or in_order(set(found.labels or []))
    ids = {name: index for index, name in enumerate(classes)}
    labels = [ids[name] for name in found.labels] if found.labels else None
    return Images(
        found.items, found.names, labels, classes, channels or 3, found.root, pixel_range, found.others, found.stream
    )


def in_order(classes: Iterable[str]) -> list[str]:
    """Classes by alphabet, or by value where all are numbers: 2 before 10."""
    names = sorted(classes)
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spread, the first and the last among them."""
    return torch.linspace(0, count - 1, min(most, count)).long().tolist()


def reserved(word: str, split: Split, channels: int) -> Images:
    """The gray images of a reserved word. Raises ValueError for channels that gray cannot be turned into."""
    if channels not in {1, 3, 4}:
        raise ValueError(f"channels must be 1, 3 or 4 for {word!r}, got {channels}")
    pixels, labels = RESERVED[word](split)
    names = [f"{word}/{split}/{index}" for index in range(len(pixels))]
    return Images(pixels, names, labels.tolist(), sample.CLASSES, channels)
