"""FITS, the format of astronomers: the first image in a file, in physical values (FITS standard 4.0)."""

from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.codecs import CUT
from pcae.data.files.stored import Stored, kind_of

CARD, BLOCK = 80, 2_880
"""Bytes of a line of a header, and of which headers and samples take multiples."""
TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
UNSIGNED = {">i2": np.uint16, ">i4": np.uint32, ">i8": np.uint64}
"""Types that stand for themselves without sign where BZERO is half of what they hold."""
MOST_BLOCKS = 1_000
"""Headers are shorter."""


@dataclass
class Unit:
    """Header and place of a part of a file."""

    cards: dict[str, str]
    start: int

    def number(self, name: str, default: float) -> float:
        """The value of a card."""
        return float(self.cards.get(name, str(default)).replace("D", "E"))

    @property
    def sides(self) -> list[int]:
        """Lengths of the axes, the fastest one first."""
        return [int(self.number(f"NAXIS{axis + 1}", 0.0)) for axis in range(int(self.number("NAXIS", 0.0)))]

    @property
    def bytes(self) -> int:
        """Room of the samples, and of what comes after them."""
        size = abs(int(self.number("BITPIX", 8.0))) // 8 * prod(self.sides) if self.sides else 0
        return size * int(self.number("GCOUNT", 1.0)) + int(self.number("PCOUNT", 0.0))


def read_fits(file: File) -> Stored:
    """The first image of a FITS file. Raises ValueError where none is, or only one that is compressed in tiles."""
    unit = image_unit(file)
    sides = [side for side in unit.sides if side != 1] if len(unit.sides) > 2 else unit.sides
    name = TYPES[int(unit.number("BITPIX", 8.0))]
    if len(sides) not in {2, 3}:
        raise ValueError(f"it has the axes {unit.sides}; height, width and channels are wanted")
    width, height, bands = (*sides, 1)[:3]
    check_pixels(width, height, bands, np.dtype(name).itemsize)
    slope, intercept = unit.number("BSCALE", 1.0), unit.number("BZERO", 0.0)
    unsigned = UNSIGNED.get(name) if (slope, intercept) == (1, half(name)) else None
    blank = unit.cards.get("BLANK")
    return Stored(
        format="FITS",
        kind=kind_of(np.dtype(unsigned or name), bands),
        size=(width, height),
        load=partial(decoded, file, unit, np.dtype(name), (bands, height, width), unsigned),
        nodata=float(blank) + (intercept if unsigned else 0) if blank is not None and name[1:2] != "f" else None,
        photometric="rgb" if bands == 3 else "gray",
        scale=None if unsigned or (slope, intercept) == (1, 0) else (slope, intercept),
    )


def half(name: str) -> int:
    """What stands for zero where integers of a type have no sign."""
    return 2 ** (8 * np.dtype(name).itemsize - 1)


def image_unit(file: File) -> Unit:
    """The first part that is an image with pixels."""
    place = 0
    while True:
        unit = read_unit(file, place)
        if unit.cards.get("ZIMAGE") == "T":
            raise ValueError("it is a FITS file compressed in tiles, which is not read; unpack it first (funpack)")
        if len(unit.sides) >= 2 and min(unit.sides) > 0 and unit.cards.get("XTENSION", "IMAGE").strip("' ") == "IMAGE":
            return unit
        place = unit.start + -(-unit.bytes // BLOCK) * BLOCK


def read_unit(file: File, place: int) -> Unit:
    """A header. Raises ValueError behind the last one."""
    file.seek(place)
    cards: dict[str, str] = {}
    for _ in range(MOST_BLOCKS):
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise ValueError(f"{CUT}, or holds no image" if place else CUT)
        for line in (block[at : at + CARD].decode("ascii", "replace") for at in range(0, BLOCK, CARD)):
            if line.rstrip() == "END":
                return Unit(cards, file.tell())
            if line[8:10] == "= ":
                cards.setdefault(line[:8].strip(), line[10:].split("/")[0].strip())
    raise ValueError("it is no FITS file: its header does not end")


def decoded(
    file: File, unit: Unit, dtype: np.dtype, shape: tuple[int, int, int], unsigned: type[np.unsignedinteger] | None
) -> np.ndarray:
    """All samples, from the top row, which is the last one of the file."""
    file.seek(unit.start)
    content = file.read(prod(shape) * dtype.itemsize)
    if len(content) < prod(shape) * dtype.itemsize:
        raise ValueError(CUT)
    samples = np.moveaxis(np.frombuffer(content, dtype).reshape(shape), 0, -1)[::-1]
    if unsigned is None:
        return samples
    native = samples.astype(dtype.newbyteorder("="))
    return native.view(unsigned) ^ unsigned(half(dtype.str))
