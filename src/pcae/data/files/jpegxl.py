"""JPEG XL by imagecodecs, in all of its depths; its header is read here, since imagecodecs decodes at once."""

from dataclasses import dataclass
from functools import partial

import imagecodecs
import numpy as np

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.boxes import boxes
from pcae.data.files.codecs import CUT, decoded
from pcae.data.files.stored import Alpha, Size, Stored, flipped

CODESTREAM = b"\xff\x0a"
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
"""Width by height, where that is how the width is said."""
ALPHA, BLACK = 0, 4
"""Kinds of extra bands."""


@dataclass
class Bits:
    """Bits of a codestream, the lowest of each byte first (ISO/IEC 18181-1, annex B)."""

    content: bytes
    place: int = 0

    def take(self, count: int) -> int:
        """The next bits as a number. Raises ValueError behind the end."""
        if self.place + count > 8 * len(self.content):
            raise ValueError(CUT)
        first = self.place // 8
        number = int.from_bytes(self.content[first : first + 9], "little") >> self.place % 8
        self.place += count
        return number & ((1 << count) - 1)

    def one_of(self, *ways: int | tuple[int, int]) -> int:
        """A number in one of four ways: itself, or so many bits and what is added to them."""
        way = ways[self.take(2)]
        return way if isinstance(way, int) else self.take(way[0]) + way[1]


@dataclass
class Header:
    """What a codestream says of its samples."""

    size: Size
    bits: int = 8
    floats: bool = False
    extra: tuple[int, ...] = ()
    premultiplied: bool = False


def read_jpegxl(file: File) -> Stored:
    """A JPEG XL file, or its bare codestream."""
    content = file.read()
    header = header_of(Bits(codestream_of(content)))
    itemsize = 4 if header.bits > 16 else 2 if header.bits > 8 else 1
    check_pixels(*header.size, 4, itemsize)
    if set(header.extra) - {ALPHA} or len(header.extra) > 1:
        raise ValueError("it has more bands than colours and opacity, which is not read; save it as TIFF")
    alpha: Alpha = "none" if not header.extra else "premultiplied" if header.premultiplied else "straight"
    return Stored(
        format="JPEG XL",
        kind=np.dtype(f"{'f' if header.floats else 'u'}{itemsize}").name,
        size=header.size,
        load=partial(decoded, imagecodecs.jpegxl_decode, content, index=0),
        photometric="rgb",
        white=None if header.floats else 2.0**header.bits - 1,
        alpha=alpha,
        opaque=True,
    )


def codestream_of(content: bytes) -> bytes:
    """The first bytes of the codestream, which may lie in a box, or begin in one."""
    if content.startswith(CODESTREAM):
        return content
    for kind, inside in boxes(content):
        if kind in {b"jxlc", b"jxlp"}:
            return inside[4 if kind == b"jxlp" else 0 :]
    raise ValueError(CUT)


def header_of(bits: Bits) -> Header:
    """Sides, depth and extra bands, which stand before all samples."""
    bits.take(16)
    header = Header(size_of(bits))
    if bits.take(1):  # all else as it usually is
        return header
    if bits.take(1):
        skip_extras(bits, header)
    header.floats, header.bits = depth_of(bits)
    bits.take(1)
    extra = [extra_band(bits) for _ in range(bits.one_of(0, 1, (4, 2), (12, 1)))]
    header.extra = tuple(kind for kind, _ in extra)
    header.premultiplied = any(premultiplied for _, premultiplied in extra)
    return header


def skip_extras(bits: Bits, header: Header) -> None:
    """How it is turned, which its decoder does; a size to show it in; a preview; the times of an animation."""
    if bits.take(3) >= 4:
        header.size = flipped(header.size)
    if bits.take(1):
        size_of(bits)
    if bits.take(1):
        raise ValueError("it holds a preview, which is not read; save it without")
    if bits.take(1):
        bits.one_of(100, 1000, (10, 1), (30, 1))
        bits.one_of(1, 1001, (8, 1), (10, 1))
        bits.one_of(0, (3, 0), (16, 0), (32, 0))
        bits.take(1)


def size_of(bits: Bits) -> Size:
    """Width and height."""
    small = bits.take(1)

    def side() -> int:
        return (bits.take(5) + 1) * 8 if small else bits.one_of((9, 1), (13, 1), (18, 1), (30, 1))

    height = side()
    ratio = bits.take(3)
    return (height * RATIOS[ratio][0] // RATIOS[ratio][1] if ratio else side()), height


def depth_of(bits: Bits) -> tuple[bool, int]:
    """Whether samples are floats, and how many bits they have."""
    if not bits.take(1):
        return False, bits.one_of(8, 10, 12, (6, 1))
    depth = bits.one_of(32, 16, 24, (6, 1))
    bits.take(4)
    return True, depth


def extra_band(bits: Bits) -> tuple[int, bool]:
    """Kind of a band beside the colours, and whether these are multiplied by it."""
    if bits.take(1):
        return ALPHA, False
    kind = bits.one_of(0, 1, (4, 2), (6, 18))
    depth_of(bits)
    bits.one_of(0, 3, 4, (3, 1))
    name = bits.one_of(0, (4, 0), (5, 16), (10, 48))
    for _ in range(name):
        bits.take(8)
    return kind, bool(bits.take(1)) if kind == ALPHA else False
