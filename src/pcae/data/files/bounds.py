"""Images of strangers, opened so that nothing in them runs, leads elsewhere or unpacks without bounds."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

File = io.BufferedReader | io.BytesIO
MOST_PIXELS = 250_000_000
"""Larger images are taken for decompression bombs. The 20,000 x 10,000 pixels of scanners and microscopes are less; in
colour, Pillow unpacks this many to 1 GB."""
MOST_BYTES = 8 * MOST_PIXELS
"""What the pixels of a TIFF, of any type and number of bands, may unpack to, and what an image in a tar may have."""
HANDING_ON = {"EPS", "IPTC", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"}
"""Formats that Pillow hands on: to Ghostscript, which runs what an .eps says, to other programs, or as any format."""
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


def open_picture(file: File, known: str | None = None) -> Image.Image:
    """A picture that Pillow knows and reads itself. known: its format, where the first bytes have told it."""
    if known is not None:
        return Image.open(file, formats=(known,))
    Image.init()
    return Image.open(file, formats=[name for name in Image.ID if name not in HANDING_ON])
