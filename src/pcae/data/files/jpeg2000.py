"""JPEG 2000 by imagecodecs, in 1 to 16 bits with or without sign."""

import struct
from functools import partial
from typing import NamedTuple

import imagecodecs
import numpy as np

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.boxes import boxes, find_box
from pcae.data.files.codecs import CUT, decoded
from pcae.data.files.pictures import read_picture
from pcae.data.files.stored import Alpha, Photometric, Size, Stored, kind_of

CODESTREAM = b"\xff\x4f\xff\x51"
"""How JPEG 2000 begins inside its boxes, or without any."""
SPACES: dict[int, Photometric] = {12: "cmyk", 16: "rgb", 17: "gray", 18: "rgb"}
"""Colour spaces by their number, where one is said: sYCC becomes RGB while it is decoded."""


class Header(NamedTuple):
    """What a codestream says of its samples."""

    size: Size
    bands: int
    bits: int
    signed: bool


def header_of(codestream: bytes) -> Header:
    """The header of a codestream. Raises ValueError for bands of different depths."""
    if not codestream.startswith(CODESTREAM):
        raise ValueError(CUT)
    right, bottom, left, top = struct.unpack(">4I", codestream[8:24])
    (bands,) = struct.unpack(">H", codestream[40:42])
    depths = set(codestream[42 : 42 + 3 * bands : 3])
    if len(depths) != 1:
        raise ValueError("its bands have different depths, which is not read; save it with one")
    (depth,) = depths
    return Header((right - left, bottom - top), bands, (depth & 127) + 1, depth > 127)


def read_jpeg2000(file: File) -> Stored:
    """A JPEG 2000 file, or its bare codestream."""
    content = file.read()
    inside = boxes(content)
    head = b"" if content.startswith(CODESTREAM) else find_box(content, b"jp2h") or b""
    bare = content if not head else next((box for kind, box in inside if kind == b"jp2c"), b"")
    size, bands, bits, signed = header_of(bare)
    if find_box(head, b"pclr") is not None:
        file.seek(0)
        return read_picture(file)
    check_pixels(*size, bands, 2 if bits > 8 else 1)
    if bits > 16:
        raise ValueError(f"its samples have {bits} bits, of which 16 are read; save it as TIFF")
    alpha = alpha_of(head, bands)
    return Stored(
        format="JPEG2000",
        kind=kind_of(np.dtype(f"{'i' if signed else 'u'}{2 if bits > 8 else 1}"), bands),
        size=size,
        load=partial(decoded, imagecodecs.jpeg2k_decode, content),
        photometric=space_of(head, bands - (alpha != "none")),
        white=None if signed else 2.0**bits - 1,
        alpha=alpha,
        opaque=True,
    )


def alpha_of(head: bytes, bands: int) -> Alpha:
    """What the last band is: by the definition of channels, else opacity where it is the second or fourth."""
    defined = find_box(head, b"cdef")
    if defined is None:
        space = find_box(head, b"colr") or bytes(7)
        return "straight" if bands == 2 or (bands == 4 and int.from_bytes(space[3:7]) != 12) else "none"
    rows = struct.iter_unpack(">3H", defined[2 : 2 + 6 * int.from_bytes(defined[:2])])
    kinds = {channel: kind for channel, kind, _ in rows}
    return {1: "straight", 2: "premultiplied"}.get(kinds.get(bands - 1, 0), "none")  # pyright: ignore[reportReturnType]


def space_of(head: bytes, colours: int) -> Photometric:
    """What the colours are. Raises ValueError for a space that is not read."""
    space = find_box(head, b"colr") or b""
    number = int.from_bytes(space[3:7]) if space[:1] == b"\x01" else 16
    if number not in SPACES:
        raise ValueError(f"its colours are of space {number}, which is not read; save it as RGB")
    return "rgb" if colours == 3 else "gray" if SPACES[number] == "rgb" or colours == 1 else SPACES[number]
