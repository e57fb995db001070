"""PNG by imagecodecs where it is plain or where Pillow takes it in part; else by Pillow."""

import io
import struct
from functools import partial

import imagecodecs
import numpy as np
from PIL import Image

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.codecs import decoded
from pcae.data.files.eight_bits import MODES
from pcae.data.files.pictures import read_picture
from pcae.data.files.stored import ORIENTATION, Stored, kind_of

HEADER = 33
"""Bytes of the signature and of the first chunk."""
BANDS = {0: 1, 2: 3, 4: 2, 6: 4}
"""How many bands there are, by PNG's type of colour: those from 4 on have opacity."""

WHOLE = {(2, 0), (4, 0), *((16, colour) for colour in BANDS)}
"""Bits and types of colour that Pillow reads in part: 8 of 16 bits, and a transparent gray of few bits as one of 8."""
PLAIN = {(8, 0), (8, 2)}
"""Gray and colours of which imagecodecs makes the same pixels as Pillow in two thirds of the time."""
MORE = {b"tRNS", b"iTXt"}
"""Chunks with which Pillow reads these: a transparent colour, and XMP, which may say how the picture is turned."""


def read_png(file: File) -> Stored:
    """A PNG with all of its bits."""
    header = file.read(HEADER)
    file.seek(0)
    if len(header) < HEADER or (header[24], header[25]) not in WHOLE | PLAIN:
        return read_picture(file, "PNG")
    content = file.read()
    chunks = chunks_of(content)
    width, height, bits, colour = struct.unpack(">IIBB", header[16:26])
    if bits == 8 and chunks.keys() & MORE:
        return read_picture(io.BytesIO(content), "PNG")
    bands, dtype = BANDS[colour], np.dtype(np.uint16 if bits == 16 else np.uint8)
    keyed = b"tRNS" in chunks
    check_pixels(width, height, bands + keyed, dtype.itemsize)
    exif = Image.Exif()
    exif.load(chunks.get(b"eXIf", b""))
    return Stored(
        format="PNG",
        kind=kind_of(dtype, bands) if bits == 16 else MODES[bands],
        size=(width, height),
        load=partial(decoded, imagecodecs.png_decode, content),
        photometric="rgb" if bands >= 3 else "gray",
        alpha="straight" if keyed or bands in {2, 4} else "none",
        orientation=lambda: exif.get(ORIENTATION, 1),
        opaque=True,
    )


def chunks_of(content: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG but its pixels, by kind."""
    chunks, place = {}, 8
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if kind != b"IDAT":
            chunks[kind] = content[place + 8 : place + 8 + length]
        place += 12 + length
    return chunks
