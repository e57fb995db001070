"""TIFF by tifffile and imagecodecs; by Pillow what these read in part: CIELab of 8 bits, subsampled colours."""

import logging
import re
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
import tifffile

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.codecs import CUT
from pcae.data.files.pictures import read_picture
from pcae.data.files.segments import check_segments
from pcae.data.files.stored import ORIENTATION, Alpha, Photometric, Stored, as_bands, kind_of

Page = tifffile.TiffPage
NODATA = 42113
"""GDAL's tag for the sample that stands for none."""
COLORMAP = 320
PALETTE, YCBCR, CIELAB = 3, 6, 8
JPEGS = {6, 7, 33007, 34892}
"""Compressions whose colours the decoder turns into RGB by itself."""
APERIO = 33003
"""JPEG 2000 of lightness and differences, whatever the file says of its colours."""
JPEG_2000 = {APERIO, 33004, 33005, 34712}
COLOURS: dict[int, Photometric] = {0: "white is zero", 1: "gray", 2: "rgb", 3: "rgb", 4: "gray", 5: "cmyk", 6: "rgb"}
"""What the bands of a photometric interpretation are, palettes looked up."""
RAW = {
    32803: "it is a raw photograph: a mosaic of red, green and blue as the sensor has it",
    34892: "it is a raw photograph: its colours are those of the sensor",
}
"""Photometric interpretations of cameras."""
REDUCED = "it is a raw photograph or the like: its first page says that it is a reduced image of another one"
DEVELOP = "; develop it into a TIFF or JPEG first, as programs for raw photographs do"
SIGNIFICANT = re.compile(r'SignificantBits="(\d+)"')
"""Where OME's metadata say how many bits count."""


class BehindTheEnd(logging.Handler):
    """tifffile writes to its log what lies behind the end of a file, and goes on without; here that is an error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise ValueError for an offset behind the end."""
        if re.search(r"invalid (value|page) offset", message := record.getMessage()):
            raise ValueError(f"{CUT} ({message})")


tifffile.logger().setLevel(logging.ERROR)
tifffile.logger().propagate = False  # what is wrong with a file is said once, in the exception
tifffile.logger().addHandler(BehindTheEnd())


def open_tiff(file: File) -> tifffile.TiffFile:
    """A TIFF by itself: other files that its metadata name, wherever they lie, are not opened."""
    return tifffile.TiffFile(file, _multifile=False, is_mmstack=False, is_ndtiff=False)


def read_tiff(file: File) -> Stored:
    """The first series of a TIFF. Raises ValueError for axes and colours that are not read."""
    tiff = open_tiff(file)
    page = first_page(tiff)
    check_readable(page)
    shape = shape_of(tiff)
    if by_pillow(page):
        check_segments([page], tiff)
        file.seek(0)
        return read_picture(file)
    colours = shape.get("S", shape.get("C", 1))
    pages = [axis for axis in shape if axis not in "YXSC"]
    stacked = len(pages) == 1 and len(shape) == 3
    bands = shape[pages[0]] if stacked else colours
    dtype = np.dtype(page.dtype)
    check_pixels(shape["X"], shape["Y"], colours, dtype.itemsize)
    alpha = alpha_of(page, colours)
    photometric = COLOURS.get(page.photometric, "gray")
    if photometric == "gray" and colours - (alpha != "none") == 3:
        photometric = "rgb"
    return Stored(
        format="TIFF",
        kind=kind_of(dtype, 3 if page.photometric == PALETTE else bands),
        size=(shape["X"], shape["Y"]),
        load=partial(first_image, tiff, shape),
        load_pages=partial(all_pages, tiff, shape) if stacked else None,
        photometric=photometric,
        white=white_of(tiff, page),
        alpha=alpha,
        orientation=partial(turn_of, page),
        nodata=None if page.photometric == PALETTE else nodata_of(page),
        lacking=lacking_of(tiff, page),
    )


def first_page(tiff: tifffile.TiffFile) -> Page:
    """What the first page says. Raises ValueError where it lies behind the end."""
    try:
        return tiff.pages.first
    except IndexError as error:
        raise ValueError(CUT) from error


def shape_of(tiff: tifffile.TiffFile) -> dict[str, int]:
    """Lengths of the axes of a TIFF's first series: Y, X, bands and pages. Raises ValueError for others."""
    len(tiff.pages)  # reads the places of all
    series = tiff.series[0]
    shape = dict(zip(series.get_axes(squeeze=True), series.get_shape(squeeze=True), strict=True))
    if not {"Y", "X"} <= shape.keys() or {"S", "C"} <= shape.keys() or series.dtype is None:
        raise ValueError(f"it has the axes {series.axes}; height, width and channels are wanted")
    return shape


def check_readable(page: Page) -> None:
    """Raise ValueError for raw photographs, for samples that are no real numbers, and for colours that nothing here
    converts.
    """
    if page.is_reduced or page.parent.filehandle.name.lower().endswith(".cr2"):
        raise ValueError(f"{REDUCED}{DEVELOP}")
    if page.photometric in RAW:
        raise ValueError(f"{RAW[page.photometric]}{DEVELOP}")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise ValueError("its samples are complex numbers or the like, which are no pixels; save their amplitude")
    if (page.photometric not in COLOURS or in_differences(page)) and not by_pillow(page):
        name = "YCBCR" if in_differences(page) else getattr(page.photometric, "name", page.photometric)
        raise ValueError(f"its colours are {name} in {page.bitspersample} bits, which is not read; save it as RGB")


def in_differences(page: Page) -> bool:
    """Whether colours are stored as lightness and differences that its decompression leaves as they are."""
    return page.compression == APERIO or (page.photometric == YCBCR and page.compression not in JPEGS)


def by_pillow(page: Page) -> bool:
    """Whether colours are stored in a way that Pillow alone converts."""
    lab = page.photometric == CIELAB and page.samplesperpixel == 3
    plain = page.bitspersample == 8 and page.planarconfig == 1 and page.compression not in JPEG_2000
    return plain and (lab or in_differences(page))


def alpha_of(page: Page, bands: int) -> Alpha:
    """What the band after the colours is, where nothing else comes after them."""
    extra = page.extrasamples
    if len(extra) != 1 or bands - 1 not in {1, 3, 4}:
        return "none"
    return {1: "premultiplied", 2: "straight"}.get(int(extra[0]), "none")  # pyright: ignore[reportReturnType]


def white_of(tiff: tifffile.TiffFile, page: Page) -> float | None:
    """White by the bits of a sample: those that are packed, or that OME says are significant."""
    if np.dtype(page.dtype).kind not in "ub" or page.photometric == PALETTE:
        return None
    bits: Any = page.bitspersample
    if tiff.is_ome and (said := SIGNIFICANT.search(tiff.ome_metadata or "")):
        bits = min(int(said[1]), bits) or bits
    return float(2**bits - 1) if isinstance(bits, int) and bits not in {8, 16} and bits <= 16 else None


def nodata_of(page: Page) -> float | None:
    """The sample that GDAL says stands for none."""
    tag = page.tags.get(NODATA)
    try:
        return float(str(tag.value).strip(" \0")) if tag is not None else None
    except ValueError:
        return None


def lacking_of(tiff: tifffile.TiffFile, page: Page) -> Callable[[], np.ndarray] | None:
    """What tells which pixels lack data: an index of a palette, or the page that GDAL writes as a mask."""
    nodata = nodata_of(page)
    if page.photometric == PALETTE and nodata is not None:
        return partial(samples_are, tiff, page, nodata)
    size = (page.imagelength, page.imagewidth)
    others = (series.keyframe for series in tiff.series[1:])
    mask = next((other for other in others if other.is_mask and other.shape == size), None)
    return None if mask is None else partial(samples_are, tiff, mask, 0.0)


def samples_are(tiff: tifffile.TiffFile, page: Page, value: float) -> np.ndarray:
    """Where a page of one band has a value."""
    check_segments([page], tiff)
    return page.asarray().reshape(page.imagelength, page.imagewidth) == value


def turn_of(page: Page) -> int:
    """The orientation that a tag says."""
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None else 1


def first_image(tiff: tifffile.TiffFile, shape: dict[str, int]) -> np.ndarray:
    """Samples of the first page; where channels are pages, of all channels at the first place of the other axes."""
    page = tiff.pages.first
    if "C" in shape:
        order = "".join(axis for axis in shape if axis not in "YXC") + "YXC"
        return rearranged(series_of(tiff, shape), "".join(shape), order)[(0,) * (len(order) - 3)]
    check_segments([page], tiff)
    axes = page.axes.replace("S", "") + "S" * ("S" in page.axes)
    samples = as_bands(rearranged(page.asarray(), page.axes, axes))
    return looked_up(samples, page) if page.photometric == PALETTE else samples


def all_pages(tiff: tifffile.TiffFile, shape: dict[str, int]) -> np.ndarray:
    """Samples of all pages of one band, as bands."""
    return rearranged(series_of(tiff, shape), "".join(shape), "YX" + next(axis for axis in shape if axis not in "YX"))


def series_of(tiff: tifffile.TiffFile, shape: dict[str, int]) -> np.ndarray:
    """All samples of the first series."""
    series = tiff.series[0]
    check_pixels(shape["X"], shape["Y"], prod(shape.values()) // (shape["X"] * shape["Y"]), series.dtype.itemsize)
    check_segments([page for page in series.pages if page is not None], tiff)
    return series.asarray(squeeze=True)


def rearranged(samples: np.ndarray, axes: str, order: str) -> np.ndarray:
    """Samples with their axes in another order."""
    return np.transpose(samples, [axes.index(axis) for axis in order])


def looked_up(samples: np.ndarray, page: Page) -> np.ndarray:
    """The colours of a palette's indices. Some programs write palettes of 8 bits where 16 are meant."""
    colours = np.asarray(page.tags[COLORMAP].value, np.uint16).reshape(3, -1).T
    return (colours if colours.max() < 256 else colours // 256).astype(np.uint8)[samples[..., 0]]
