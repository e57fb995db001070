"""JPEG by libjpeg-turbo, which can decode it smaller; by imagecodecs where it has not 8 bits."""

import io
import struct
from collections.abc import Container
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image

from pcae.data.files.bounds import File, check_pixels, open_picture
from pcae.data.files.codecs import CUT, decoded
from pcae.data.files.pictures import loaded, of_pillow, turn_of
from pcae.data.files.stored import ORIENTATION, Samples, Size, Stored, as_bands, kind_of

ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers with nothing behind them."""
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the header that says how large and how deep a JPEG is."""
LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
LS = 0xF7
"""The marker of JPEG-LS, another format inside of the same markers."""
SCAN, END = b"\xff\xda", b"\xff\xd9"
EXIF = 0xE1
SEQUENTIAL = {0xC0, 0xC1}
LONGEST = 0xFFFF
"""Rows that a JPEG has at most."""
BELOW = 16
"""Rows below those wanted that are decoded as well: the colours of the last ones are made of both neighbours."""


class Frame(NamedTuple):
    """What a JPEG says of its samples. at: where its marker stands. exif: the first block of EXIF or XMP."""

    marker: int
    bits: int
    size: Size
    bands: int
    exif: bytes
    at: int

    @property
    def lossless(self) -> bool:
        """Whether samples come out as they were, without a change of colours."""
        return self.marker in {*LOSSLESS, LS}


def frame_of(file: File, markers: Container[int] = FRAMES) -> Frame | None:
    """The header of a JPEG, from the markers before its first scan; None where there is none.

    markers: which ones begin a header.
    """
    exif, file_at = b"", file.seek(2)
    while (start := file.read(4)) and len(start) == 4 and start[0] == 0xFF:
        marker, length = start[1], int.from_bytes(start[2:])
        if marker == 0xFF or marker in ALONE:  # what fills up
            file_at = file.seek(file_at + (1 if marker == 0xFF else 2))
            continue
        if marker in markers:
            bits, height, width, bands = struct.unpack(">BHHB", file.read(6))
            return Frame(marker, bits, (width, height), bands, exif, file_at)
        if marker == EXIF and not exif:
            exif = file.read(length - 2)
        if start[:2] in {SCAN, END}:
            return None
        file_at = file.seek(file_at + 2 + length)
    return None


def read_jpeg(file: File) -> Stored:
    """A JPEG of 2 to 16 bits."""
    content = file.read()
    frame = frame_of(io.BytesIO(content))
    if frame is not None and frame.bits != 8:
        return deep_jpeg(content, frame)
    if frame is not None and not frame.lossless and is_plain(content, frame):
        return plain_jpeg(content, frame)
    image = open_picture(io.BytesIO(content), "JPEG")
    check_pixels(image.width, image.height)
    return of_pillow(image, None if frame is None or frame.lossless else partial(shrink, image))


def shrink(image: Image.Image, times: int, _: int) -> None:
    """Have an opened JPEG decoded so many times smaller, which its decoder does in passing."""
    image.draft(None, (image.width // times, image.height // times))


def is_plain(content: bytes, frame: Frame) -> bool:
    """Whether libjpeg-turbo by itself sees gray or colour of this size in a JPEG."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return False
    return (width, height) == frame.size and space in {"Gray", "YCbCr", "RGB"}


def plain_jpeg(content: bytes, frame: Frame) -> Stored:
    """A JPEG of 8 bits that is gray or has three colours."""
    check_pixels(*frame.size)
    jpeg = PlainJpeg(content, frame)
    return Stored(
        format="JPEG",
        kind="RGB" if frame.bands == 3 else "L",
        size=frame.size,
        load=jpeg.load,
        photometric="rgb" if frame.bands == 3 else "gray",
        orientation=cache(jpeg.orientation),
        shrink=jpeg.shrink,
        opaque=True,
    )


@dataclass
class PlainJpeg:
    """What libjpeg-turbo is to make of a file: so many times smaller, and at least down to a row of the full picture.

    Pillow makes the same pixels and takes a third longer.
    """

    content: bytes
    frame: Frame
    times: int = 1
    bottom: int = LONGEST

    def shrink(self, times: int, bottom: int) -> None:
        """Have less decoded."""
        self.times, self.bottom = times, bottom

    def orientation(self) -> int:
        """As Pillow reads it, from EXIF or XMP."""
        return turn_of(self.opened()) if self.frame.exif else 1

    def load(self) -> Samples:
        """The pixels; Pillow decides where anything is odd, and refuses what is cut off."""
        rows = self.rows()
        try:
            return as_bands(self.decode(rows))
        except ValueError:
            image = self.opened()
            shrink(image, self.times, self.bottom)
            return loaded(image)

    def opened(self) -> Image.Image:
        """The same by Pillow."""
        return open_picture(io.BytesIO(self.content), "JPEG")

    def decode(self, rows: int) -> np.ndarray:
        """The pixels of the first rows by simplejpeg. Raises ValueError for what libjpeg warns of, if all are read.

        Fewer rows are had by a header that says there are no more; half of the time goes to decode what they come from.
        """
        (width, height), at, content = self.frame.size, self.frame.at, self.content
        if rows < height:
            content = content[: at + 5] + rows.to_bytes(2) + content[at + 7 :]
        small = {"min_width": -(-width // self.times), "min_height": -(-rows // self.times)}
        space = "RGB" if self.frame.bands == 3 else "GRAY"
        return simplejpeg.decode_jpeg(content, space, strict=rows == height, **small)

    def rows(self) -> int:
        """How many rows are decoded: all of a file in which colours or finer steps come later, or that is cut off."""
        rows, height = self.bottom + BELOW, self.frame.size[1]
        if self.frame.marker not in SEQUENTIAL or rows >= height or not self.content.endswith(END):
            return height
        scan = self.content.find(SCAN, self.frame.at)
        return rows if self.content[scan + 4] == self.frame.bands else height


def deep_jpeg(content: bytes, frame: Frame) -> Stored:
    """A JPEG of another depth than 8 bits: 12, or any without loss."""
    width, height = frame.size
    check_pixels(width, height, frame.bands, 2)
    if frame.bands not in {1, 3}:
        raise ValueError(
            f"it is a JPEG of {frame.bands} bands in {frame.bits} bits, which is not read; save it as TIFF"
        )
    exif = Image.Exif()
    exif.load(frame.exif if frame.exif.startswith(b"Exif\0\0") else b"")
    return Stored(
        format="JPEG",
        kind=kind_of(np.dtype(np.uint16 if frame.bits > 8 else np.uint8), frame.bands),
        size=frame.size,
        load=partial(decode_deep, content),
        photometric="rgb" if frame.bands == 3 else "gray",
        white=2.0**frame.bits - 1,
        orientation=lambda: exif.get(ORIENTATION, 1),
        opaque=True,
    )


def decode_deep(content: bytes) -> np.ndarray:
    """All samples. Raises ValueError for a file that is cut off."""
    check_end(content)
    return decoded(imagecodecs.jpeg_decode, content)


def check_end(content: bytes) -> None:
    """Raise ValueError for a JPEG that is cut off, whose end decoders would make up in silence."""
    if END not in content[max(content.rfind(SCAN), 0) :]:
        raise ValueError(CUT)
