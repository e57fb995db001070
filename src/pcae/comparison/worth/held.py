"""The images decoded and shrunk once, in memory, as far as they fit: every row looks at them many times."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch.utils.data import DataLoader

from pcae.comparison.worth.drawn import Drawn
from pcae.data.crops import covering, cut, to_array
from pcae.data.files.decode import Part, whole
from pcae.data.images import Images
from pcae.data.lazy import Lazy
from pcae.data.several import chained
from pcae.data.unreadable import BadFiles, Read, read_or_not

ROOM = 1.6
"""How many times as large as the largest network's images they stay, so that random crops lose nothing."""
MOST = 2**31
"""Bytes that they may take; more of them stay where they are."""
BATCH = 8
"""Images that a reading process hands on at once."""


@dataclass(frozen=True)
class Shrunk:
    """Images by their place, with a shorter side of at most so many pixels."""

    images: Images
    side: int

    def __call__(self, index: int) -> np.ndarray:
        """An image. Raises Unreadable."""
        pixels = self.images.open_part(index, self.part).pixels
        height, width = pixels.shape[:2]
        share = self.side / min(height, width)
        if share >= 1:
            return np.ascontiguousarray(pixels)
        target = (max(round(width * share), self.side), max(round(height * share), self.side))
        return to_array(cut(pixels, whole((width, height)).box, target))

    def part(self, size: tuple[int, int]) -> Part:
        """All of a picture; a JPEG is reduced as far as the size allows."""
        box = covering(size, size)
        share = min(self.side / min(size), 1.0)
        return Part(box, (math.ceil(size[0] * share), math.ceil(size[1] * share)))


def together(parts: Iterable[Images]) -> Images:
    """Images of several parts, each once, without their labels; all were opened alike."""
    known: set[str] = set()
    rest = []
    for part in parts:
        rows = [place for place, name in enumerate(part.names) if name not in known]
        rest.append(part.at(np.array(rows, dtype=int)))
        known |= set(part.names)
    rest = [part for part in rest if len(part)]
    arrays = all(isinstance(part.items, np.ndarray) for part in rest)
    items = np.concatenate([part.items for part in rest]) if arrays else chained([part.items for part in rest])
    names = [name for part in rest for name in part.names]
    return replace(rest[0], items=items, names=names, labels=None, classes=[], said=None)


def fit(images: Images, side: int) -> bool:
    """Whether they fit into memory. They need not where they lie in an array already."""
    return not isinstance(images.items, np.ndarray) and len(images) * side * side * images.channels * 4 / 3 <= MOST


def hold(images: Images, side: int, limit: float, workers: int) -> tuple[dict[str, np.ndarray], set[str]]:
    """The images by their name, and the names of those that cannot be read.

    Raises ValueError when more than `limit` of them cannot be read.
    """
    bad_files, held = BadFiles(images, limit), dict[str, np.ndarray]()
    several = Lazy(partial(read_or_not, Shrunk(images, side)), range(len(images)))
    for some in DataLoader(several, BATCH, num_workers=workers, collate_fn=as_read):
        for read in some:
            bad_files.add(read.failed)
            if read.pixels is not None:
                held[str(images.names[read.image])] = read.pixels
    bad_files.check()
    return held, {images.names[place] for place in bad_files.found}


def as_read(some: list[Read]) -> list[Read]:
    """What was read, as it is: arrays of several sizes are not put together."""
    return some


def with_held(drawn: Sequence[Drawn], held: Mapping[str, np.ndarray]) -> list[Drawn]:
    """The same images, in memory."""
    return [
        replace(
            one,
            train=from_memory(one.train, held),
            held_out=from_memory(one.held_out, held),
            rest=None if one.rest is None else from_memory(one.rest, held),
        )
        for one in drawn
    ]


def from_memory(images: Images, held: Mapping[str, np.ndarray]) -> Images:
    """Images whose pixels are at hand. One that could not be read is taken out by its name before."""
    return replace(images, items=[held[name] for name in images.names])
