"""Files that cannot be read: replaced or left out, counted and named; too many of them are refused."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from pcae.data.decode import Unreadable
from pcae.data.images import Images, RandomCrops, WholeImages

TRIES = 100
"""Images in a row that may be unreadable before a run stops at once."""


class Read(NamedTuple):
    """The pixels of an image, if it was read, its index, and why those that could not be read were not, by index."""

    pixels: Tensor | None
    image: int
    failed: Mapping[int, str]


class Batch(NamedTuple):
    """The images of a batch that were read, their indices, and the reasons of those that could not be, by index."""

    pixels: UInt8[Tensor, "batch channels height width"]
    indices: list[int]
    failed: dict[int, str]


def collate(read: list[Read]) -> Batch:
    """Images of one size as a batch, which is empty when none could be read."""
    there = [(one.pixels, one.image) for one in read if one.pixels is not None]
    pixels = torch.stack([pixels for pixels, _ in there]) if there else torch.zeros(0, 0, 0, 0, dtype=torch.uint8)
    return Batch(pixels, [image for _, image in there], {k: v for one in read for k, v in one.failed.items()})


@dataclass(frozen=True)
class LeftOut(Dataset):
    """Whole images, less those that cannot be read."""

    whole: WholeImages

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> Read:
        try:
            return Read(self.whole[index], index, {})
        except Unreadable as error:
            return Read(None, index, {index: error.reason})


@dataclass(frozen=True)
class Replaced(Dataset):
    """Random crops; a file that cannot be read is replaced by another, which seed and position alone decide."""

    crops: RandomCrops

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
        yield from (int(number % len(self.crops.images)) for number in state)


@dataclass
class BadFiles:
    """What could not be read so far, by name: the reasons. At most the share `limit` of the images may fail."""

    images: Images
    limit: float
    found: dict[str, str] = field(default_factory=dict)

    def add(self, failed: Mapping[int, str]) -> None:
        """Count images by index."""
        self.found |= {self.images.names[index]: reason for index, reason in failed.items()}

    def check(self, of: int | None = None) -> None:
        """Raise ValueError, with names, when too many could not be read: of all images, or `of` so many looked at."""
        if len(self.found) > self.limit * (of or len(self.images)):
            raise ValueError(
                f"{self.describe()}; more than --max-bad-files {self.limit:g} allows; repair or remove them"
            )

    def describe(self, most: int = 10) -> str:
        """How many, and the names and reasons of the first ones."""
        named = [f"{name!r} ({reason})" for name, reason in sorted(self.found.items())[:most]]
        more = len(self.found) - len(named)
        return (
            f"{len(self.found)} of {len(self.images)} images cannot be read: {', '.join(named)}"
            f"{f' and {more} more' if more else ''}"
        )

    def lines(self) -> str:
        """One line of JSON for each, in order."""
        return "".join(json.dumps({"file": name, "reason": why}) + "\n" for name, why in sorted(self.found.items()))

    def load(self, path: Path) -> None:
        """Go on from what was written down before."""
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.found |= {row["file"]: row["reason"] for row in map(json.loads, lines)}
