"""Files that cannot be read: replaced or left out, counted and named; too many of them are refused."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from pcae.data.files.decode import Unreadable
from pcae.data.images import Images
from pcae.data.lazy import Lazy

TRIES = 100
"""Images in a row that may be unreadable before a run stops at once."""


@runtime_checkable
class Views(Protocol):
    """Random views of images: an item is (index, position in the run), and seed and position alone decide the view."""

    @property
    def images(self) -> Images:
        """The images."""
        ...

    @property
    def seed(self) -> int:
        """Another seed gives other views."""
        ...

    def __getitem__(self, item: tuple[int, int], /) -> Any: ...


class Read(NamedTuple):
    """The pixels of an image, or a view of it and its objects, if it was read, its index, and why those that could not
    be read were not, by index.
    """

    pixels: Any
    image: int
    failed: Mapping[int, str]


class Batch(NamedTuple):
    """The images of a batch that were read, their indices, and the reasons of those that could not be, by index.

    boxes: left, top, right and bottom of the part that is to be cropped of each, where that is still to be done.
    rows: which images these are of those that lie on the device, where they do; then there are no pixels.
    """

    pixels: UInt8[Tensor, "batch channels height width"]
    indices: list[int]
    failed: dict[int, str]
    boxes: Float[Tensor, "batch 4"] | None = None
    rows: Int[Tensor, " batch"] | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch with its tensors on a device; from pinned memory, without waiting for them."""
        tensors = {name: value for name, value in self._asdict().items() if torch.is_tensor(value)}
        return self._replace(**{name: value.to(device, non_blocking=True) for name, value in tensors.items()})


def collate(read: list[Read]) -> Batch:
    """Images of one size as a batch, which is empty when none could be read."""
    there = [(one.pixels, one.image) for one in read if one.pixels is not None]
    pixels = stacked([pixels for pixels, _ in there]) if there else torch.zeros(0, 0, 0, 0, dtype=torch.uint8)
    return Batch(pixels, [image for _, image in there], {k: v for one in read for k, v in one.failed.items()})


def stacked(images: list[Tensor]) -> UInt8[Tensor, "batch channels height width"]:
    """Images one after the other, as they lie in memory: turning colours from last to first takes ten times as long.

    A reading process puts them where the training one finds them, without a second copy.
    """
    if images[0].is_contiguous():
        return default_collate(images)
    return default_collate([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def left_out(open: Callable[[int], Tensor], count: int) -> Any:  # Lazy[Read], of which a check at run time reads one
    """So many images (`Read`), less those that cannot be read. open: pixels by index, raises Unreadable."""
    return Lazy(partial(read_or_not, open), range(count))


def read_or_not(open: Callable[[int], Any], index: int) -> Read:
    """An image, or why it cannot be read."""
    try:
        return Read(open(index), index, {})
    except Unreadable as error:
        return Read(None, index, {index: error.reason})


@dataclass(frozen=True)
class Replaced(Dataset):
    """Random crops; a file that cannot be read is replaced by another, which seed and position alone decide."""

    crops: Views

    def __getitem__(self, item: tuple[int, int]) -> Read:
        failed = {}
        for index in self.candidates(*item):
            try:
                return Read(self.crops[index, item[1]], index, failed)
            except Unreadable as error:
                failed[index] = error.reason
        name, reason = self.crops.images.names[item[0]], failed[item[0]]
        raise ValueError(f"{TRIES} images in a row cannot be read, the first one: {name!r} ({reason})")

    def candidates(self, index: int, position: int) -> Iterator[int]:
        """The image wanted, then those that may stand in for it."""
        yield index
        state = np.random.SeedSequence([self.crops.seed, position, 1]).generate_state(TRIES - 1, np.uint64)
        yield from (int(number) % len(self.crops.images) for number in state)


@dataclass
class BadFiles:
    """What could not be read so far, by index, and why; `news` is what was not yet told to other processes.

    At most the share `limit` of the images may fail.
    """

    images: Images
    limit: float
    found: dict[int, str] = field(default_factory=dict)
    news: dict[int, str] = field(default_factory=dict)

    def add(self, failed: Mapping[int, str]) -> None:
        """Count images by index."""
        self.news |= {index: reason for index, reason in failed.items() if index not in self.found}
        self.found |= failed

    def check(self, looked_at: int | None = None) -> None:
        """Raise ValueError, with names, when too many could not be read.

        looked_at: how many images were tried, where not all of them; then only what is more by three standard
        deviations of such a sample is too many.
        """
        count = looked_at or len(self.images)
        slack = 0.0 if count == len(self.images) else 3 * math.sqrt(count * self.limit * (1 - self.limit))
        if len(self.found) > self.limit * count + slack:
            of = f"{count} images" if count == len(self.images) else f"{count} images looked at"
            raise ValueError(
                f"{self.describe(of)}; more than --max-bad-files {self.limit:g} allows; repair them, allow more, "
                "or start without them"
            )

    def describe(self, of: str | None = None, most: int = 10) -> str:
        """How many, and the names and reasons of the first ones."""
        first = sorted(self.found.items())[:most]
        named = ", ".join(f"{self.images.names[index]!r} ({reason})" for index, reason in first)
        more = f" and {len(self.found) - most} more" if len(self.found) > most else ""
        return f"{len(self.found)} of {of or f'{len(self.images)} images'} cannot be read: {named}{more}"

    def by_name(self) -> dict[str, str]:
        """The reasons by the files' names."""
        return {self.images.names[index]: reason for index, reason in sorted(self.found.items())}

    def lines(self) -> str:
        """One line of JSON for each, in order, with names below the data's folder."""
        rows = [{"file": self.images.short(index), "reason": why} for index, why in sorted(self.found.items())]
        return "".join(json.dumps(row) + "\n" for row in rows)

    def look_again(self, path: Path) -> None:
        """Count those that were written down before and still cannot be read; those of a stream without a look."""
        if not path.is_file():
            return
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        before = {row["file"]: row["reason"] for row in rows}
        if self.images.stream is not None:  # a look would read the shard up to each of them
            self.found |= self.images.stream.rows_of(before)
            return
        for index in (index for index in range(len(self.images)) if self.images.short(index) in before):
            self.add(read_or_not(self.images.open, index).failed)
