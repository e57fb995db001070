"""Images of strangers, opened so that nothing in them runs, leads elsewhere or unpacks without bounds."""

import io
import logging
import lzma
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import tifffile
from PIL import Image

File = io.BufferedReader | io.BytesIO
MOST_PIXELS = 250_000_000
"""Larger images are taken for decompression bombs. The 20,000 x 10,000 pixels of scanners and microscopes are less; in
colour, Pillow unpacks this many to 1 GB."""
MOST_BYTES = 8 * MOST_PIXELS
"""What the pixels of a TIFF, of any type and number of bands, may unpack to, and what an image in a tar may have."""
HANDING_ON = {"EPS", "IPTC", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"}
"""Formats that Pillow hands on: to Ghostscript, which runs what an .eps says, to other programs, or as any format."""
LZMA = 34925
UNPACKERS = {8: zlib.decompressobj, 32946: zlib.decompressobj, 50013: zlib.decompressobj, LZMA: lzma.LZMADecompressor}
"""What unpacks strips and tiles of a TIFF, by their compression, where tifffile by itself would to any size."""
SMALL = 2**16
"""Bytes of a strip or tile of which Deflate can make 64 MiB at most."""

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is said once, in the exception
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # for pictures inside of pictures, and for crops, too


@contextmanager
def decoding() -> Iterator[None]:
    """Decoders warn of odd metadata and palettes, which is left out, and of too many pixels, which is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def check_pixels(width: int, height: int, bands: int = 1, itemsize: int = 1) -> None:
    """Raise ValueError for an image without pixels, or with more than are safe to unpack.

    itemsize: bytes of each value.
    """
    if min(width, height, bands) < 1:
        raise ValueError(f"it has no pixels: {width} x {height}")
    pixels = f"{width:,} x {height:,} pixels" + (f" in {bands} bands" if bands > 1 else "")
    if width * height > MOST_PIXELS:
        raise ValueError(f"its {pixels} are more than are safe to unpack ({MOST_PIXELS:,}); shrink it")
    if (size := width * height * bands * itemsize) > MOST_BYTES:
        raise ValueError(f"its {pixels} take {size:,} bytes, more than are safe to unpack ({MOST_BYTES:,}); shrink it")


def open_picture(file: File) -> Image.Image:
    """A picture that Pillow knows and reads itself."""
    Image.init()
    return Image.open(file, formats=[name for name in Image.ID if name not in HANDING_ON])


def open_tiff(file: File) -> tifffile.TiffFile:
    """A TIFF by itself: other files that its metadata name, wherever they lie, are not opened."""
    return tifffile.TiffFile(file, _multifile=False, is_mmstack=False, is_ndtiff=False)


def tiff_pixels(file: tifffile.TiffFile) -> np.ndarray:
    """The pixels of a TIFF's first series. Raises ValueError for one that unpacks to more than it says."""
    for page in file.series[0].pages:
        if page is not None:
            check_segments(page, file.filehandle)
    return file.series[0].asarray(squeeze=True)


def check_segments(page: tifffile.TiffPage | tifffile.TiffFrame, file: tifffile.FileHandle) -> None:
    """Raise ValueError for a strip or tile that unpacks to more than its place in the picture."""
    first = page.keyframe  # it says how all are stored
    unpacker: Any = UNPACKERS.get(first.compression) if first else None
    if first is None or first.dtype is None or unpacker is None:
        return
    room = prod(first.chunks) * first.dtype.itemsize
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if count <= SMALL and first.compression != LZMA:
            continue
        file.seek(offset)
        if len(unpacker().decompress(file.read(count), room + 1)) > room:
            raise ValueError(f"a part of it unpacks to more than the {room:,} bytes that it has room for; it is torn")
