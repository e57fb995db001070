"""Images that can be opened one by one, wherever they lie: what all that shows, trains or measures takes."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from pcae.data.files.decode import Choose, Decoded, Source, Unreadable, decode_part, reason_of, size_of, whole
from pcae.data.files.eight_bits import Bands, EightBits, PixelRange
from pcae.data.lazy import pick
from pcae.data.packed.reading import from_array
from pcae.data.shards.remote import SourceGone
from pcae.data.shards.shard_list import ShardList
from pcae.data.tables.labels import Said


@dataclass(frozen=True, repr=False)
class Images(Dataset):
    """Images that can be opened one by one: a map-style Dataset, of uint8 tensors of channels x height x width.

    Each has its own size, and stands in a tuple with its label where there are labels; a slice is Images again.

    items: paths of files, or what reads all of a file's bytes when asked for, or uint8 arrays of height x width
    or height x width x channels.
    names: one an image, a file's path. labels: class of each, where known. root: what all names begin with; of several
    sources, one each. pixel_range: numbers in files of more than 8 bits that become 0 and 255. bands: which of a file's
    become the channels, from 1; without it, all of them. others: files beside them that are no images, by suffix.
    stream: the shards that all of them are read from in order; nothing is held of each image then. unlabelled: why
    there are no labels, where something is said of what they show. said: that, where an image may have any number of
    labels. label_sets: the classes of each, where they were opened so.
    """

    items: Sequence[Any] | np.ndarray  # of Source; a check of lazy ones at run time would read them
    names: Sequence[str]
    labels: Sequence[int] | None
    classes: Sequence[str]
    channels: int
    root: str | tuple[str, ...] = ""
    pixel_range: PixelRange | None = None
    others: Mapping[str, int] = field(default_factory=dict)
    stream: ShardList | None = None
    unlabelled: str = ""
    bands: Bands | None = None
    said: Said | None = None
    label_sets: Sequence[tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.at(np.arange(len(self))[index])
        place = range(len(self))[index]  # from the end where it is negative; IndexError beyond
        pixels = torch.from_numpy(np.array(self.open(place))).permute(2, 0, 1)
        return pixels if self.labels is None else (pixels, self.labels[place])

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(len(self)))

    def __repr__(self) -> str:
        classes = "" if self.labels is None else f", {len(self.classes)} classes"
        where = self.root if isinstance(self.root, str) else " ".join(self.root)
        return shorten(
            f"Images({len(self)} images, {self.channels} channels{classes}, {where or self.names[0]!r})", 200
        )

    def digest(self) -> str:
        """A fingerprint of which images these are, in which order, wherever they lie."""
        if self.stream is not None:
            return self.stream.digest()
        digest = hashlib.blake2b(digest_size=8)
        for index in range(len(self)):
            digest.update(("\n" * (index > 0) + self.short(index)).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def digest_of_labels(self) -> str:
        """A fingerprint of what is said of each image, and of the classes."""
        said = self.said and [self.said.declared, *self.said.labels]
        labels = None if self.labels is None else [*map(int, self.labels)]
        sets = None if self.label_sets is None else [[*map(int, some)] for some in self.label_sets]
        return hashlib.blake2b(repr([labels, sets, list(self.classes), said]).encode(), digest_size=8).hexdigest()

    def short(self, index: int) -> str:
        """The name of an image below the folder that all lie in: it stays when the data move.

        Of several sources, the number of its own stands before it.
        """
        name = self.names[index]
        if isinstance(self.root, str):
            return name.removeprefix(self.root).lstrip("/\\")
        numbers, lengths = self.roots
        number = next((numbers[name[:length]] for length in lengths if name[:length] in numbers), None)
        if number is None:
            return name
        return f"{number + 1}/{name.removeprefix(self.root[number]).lstrip('/')}"

    @cached_property
    def roots(self) -> tuple[dict[str, int], list[int]]:
        """The number of each of several sources by its root, the first where there are two, and their lengths, the
        longest first: a list of ten thousand paths has as many sources.
        """
        numbers = {root: number for number, root in reversed(list(enumerate(self.root)))}
        return numbers, sorted({len(root) for root in numbers}, reverse=True)

    def left_out(self, most: int = 10) -> str:
        """How many files beside the images were left out, by suffix, the most frequent ones."""
        first = sorted(self.others.items(), key=lambda kind: -kind[1])[:most]
        more = f" and {len(self.others) - most} other kinds" if len(self.others) > most else ""
        return ", ".join(f"{count} {suffix}" for suffix, count in first) + more

    def some(self, most: int) -> list[int]:
        """At most `most` indices, spread over the images; over a stream, the first ones of a few of its shards."""
        return spread(len(self), most) if self.stream is None else self.stream.some(most)

    def without(self, indices: Collection[int]) -> "Images":
        """The images but those at these indices."""
        return self.at(np.delete(np.arange(len(self)), list(indices))) if indices else self

    def at(self, rows: np.ndarray) -> "Images":
        """The images at these indices, in their order."""
        items = self.items[rows] if isinstance(self.items, np.ndarray) else pick(self.items, rows)
        labels, sets = (None if own is None else pick(own, rows) for own in (self.labels, self.label_sets))
        said = self.said and replace(self.said, labels=pick(self.said.labels, rows))
        names = pick(self.names, rows)
        return replace(self, items=items, names=names, labels=labels, stream=None, said=said, label_sets=sets)

    def source(self, index: int) -> Source | np.ndarray:
        """The image as it is stored: the path of its file, all of its bytes, or an array. Raises Unreadable.

        Raises SourceGone where a server, or a stream's shard, cannot be read any more.
        """
        try:
            return self.items[index]
        except SourceGone:
            raise
        except (OSError, ValueError) as error:  # its shard is gone
            raise Unreadable(self.names[index], reason_of(error)) from error

    def open(self, index: int) -> EightBits:
        """The image, upright, with this source's channels. Raises Unreadable naming a file that cannot be read."""
        return self.open_part(index, whole).pixels

    def open_part(self, index: int, choose: Choose) -> Decoded:
        """The image, reduced where a part of it is wanted smaller (`decode_part`), and the part's box in it."""
        return self.part_of(self.source(index), choose, self.names[index])

    def part_of(self, source: Source | np.ndarray, choose: Choose, name: str) -> Decoded:
        """A part of an image of this source that is at hand as it is stored, as `open_part` has it."""
        if isinstance(source, np.ndarray):
            try:
                pixels = from_array(source, self.channels)
            except ValueError as error:
                raise Unreadable(name, reason_of(error)) from error
            return Decoded(pixels, choose(size_of(pixels)).box)
        return decode_part(source, self.channels, choose, self.pixel_range, name, self.bands)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spread, the first and the last among them."""
    return torch.linspace(0, count - 1, min(most, count)).long().tolist()
