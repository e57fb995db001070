"""Strips and tiles of a TIFF, looked at before they are decoded: whether all is there, and how large what is inside."""

import io
from collections.abc import Callable, Sequence

import tifffile

from pcae.data.files.codecs import CUT
from pcae.data.files.jpeg import frame_of
from pcae.data.files.jpeg2000 import header_of as jpeg2000_header
from pcae.data.files.jpegxl import Bits, codestream_of
from pcae.data.files.jpegxl import header_of as jpegxl_header
from pcae.data.files.stored import Size

Page = tifffile.TiffPage | tifffile.TiffFrame


def check_segments(pages: Sequence[Page], tiff: tifffile.TiffFile) -> None:
    """Raise ValueError for a strip or tile that ends behind the file, or that is a picture larger than its place.

    Other compressions unpack no more than has room in the picture.
    """
    for page in pages:
        first = page.keyframe  # it says how all are stored
        size_of = SIZES.get(int(first.compression)) if first is not None else None
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if offset + count > tiff.filehandle.size:
                raise ValueError(f"{CUT}: a part of its pixels lies behind its end")
            if size_of is not None and first is not None and count:
                tiff.filehandle.seek(offset)
                check_size(size_of(tiff.filehandle.read(count)), first)


def check_size(size: Size, page: tifffile.TiffPage) -> None:
    """Raise ValueError for a picture that is larger than a strip or tile."""
    room = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    if size[0] > room[0] or size[1] > room[1]:
        raise ValueError(
            f"a part of it is a picture of {size[0]:,} x {size[1]:,} pixels, and has room for {room[0]:,} x {room[1]:,}"
        )


def jpeg_size(segment: bytes) -> Size:
    """Sides of a JPEG."""
    frame = frame_of(io.BytesIO(segment))
    if frame is None:
        raise ValueError(CUT)
    return frame.size


def jpeg2000_size(segment: bytes) -> Size:
    """Sides of a JPEG 2000 codestream, or of the one in a file."""
    return jpeg2000_header(segment[max(segment.find(b"\xff\x4f\xff\x51"), 0) :]).size


def jpegxl_size(segment: bytes) -> Size:
    """Sides of a JPEG XL."""
    return jpegxl_header(Bits(codestream_of(segment))).size


def png_size(segment: bytes) -> Size:
    """Sides of a PNG."""
    return int.from_bytes(segment[16:20]), int.from_bytes(segment[20:24])


def webp_size(segment: bytes) -> Size:
    """Sides of a WebP, by the header of its first part; Pillow would have room made for all of it."""
    kind, body = segment[12:16], segment[20:30]
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 16_383) + 1, (bits >> 14 & 16_383) + 1
    return int.from_bytes(body[6:8], "little") & 16_383, int.from_bytes(body[8:10], "little") & 16_383


INSIDE = {
    jpeg_size: (6, 7, 33007, 34892),
    jpeg2000_size: (33003, 33004, 33005, 34712),
    jpegxl_size: (50002, 52546),
    png_size: (34933,),
    webp_size: (50001,),
}
SIZES: dict[int, Callable[[bytes], Size]] = {number: tell for tell, numbers in INSIDE.items() for number in numbers}
"""What tells the sides of the pictures that strips and tiles are, by TIFF's numbers of compressions."""
