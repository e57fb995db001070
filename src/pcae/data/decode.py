"""An image file -> upright pictures of 8 bits, whatever its format; what cannot be read is refused in one way."""

import warnings
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

Planes = tuple[Image.Image, ...]
"""One picture of mode L or RGB for 1 or 3 channels, else one of mode L for each channel."""
PixelRange = tuple[float, float]
MODES = {1: "L", 3: "RGB"}
MOST_PIXELS = 178_956_970
"""Larger images are taken for decompression bombs, as Pillow does; it is about 13,000 x 13,000 pixels."""


class Unreadable(ValueError):
    """A file that is no image or that has no pixels for us. `reason` leaves its name out."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"image {path!r} cannot be read: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)


def decode(path: str, channels: int, pixel_range: PixelRange | None = None) -> Planes:
    """The first picture in a file, turned as its EXIF data say, with this number of channels of 8 bits.

    channels 1 and 3: gray and colour, transparency laid over white. 4: colour and opacity, or the four bands of a
    TIFF. Others: the bands that the file has. pixel_range: the values of 16-bit and float pixels that become 0 and
    255; without it 0 to 65,535 and 0 to 1. Raises Unreadable.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of odd metadata and palettes
            return planes_of(path, channels, pixel_range)
    except Exception as error:  # decoders raise errors of every kind on strangers' files
        reason = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        elif isinstance(error, UnidentifiedImageError):
            reason = "it is no image, or of a format that is not known"
        raise Unreadable(path, " ".join(reason.split())) from error


def planes_of(path: str, channels: int, pixel_range: PixelRange | None) -> Planes:
    """By Pillow where it can, by tifffile where it cannot: bands of any number and floats of any width."""
    tiff = Path(path).suffix.lower() in {".tif", ".tiff"}
    if tiff and channels not in MODES:
        return from_tiff(path, channels, pixel_range)
    try:
        with Image.open(path) as image:
            check_pixels(image.width * image.height)
            return from_pillow(image, channels, pixel_range)
    except UnidentifiedImageError:
        if not tiff:
            raise
        return from_tiff(path, channels, pixel_range)


def check_pixels(count: int) -> None:
    """Raise ValueError for more pixels than are safe to unpack."""
    if count > MOST_PIXELS:
        raise ValueError(f"its {count:,} pixels are more than the {MOST_PIXELS:,} that are safe to unpack; shrink it")


def from_pillow(image: Image.Image, channels: int, pixel_range: PixelRange | None) -> Planes:
    """An opened image with these channels."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        upright = Image.fromarray(to_eight_bits(np.asarray(upright), pixel_range))
    if channels in MODES:
        return (over_white(upright).convert(MODES[channels]),)
    bands = (upright.convert("RGBA") if channels == 4 else upright).split()
    check_bands(len(bands), channels)
    return bands


def over_white(image: Image.Image) -> Image.Image:
    """What a viewer shows of an image with transparent parts."""
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white


def from_tiff(path: str, channels: int, pixel_range: PixelRange | None) -> Planes:
    """The first series of a TIFF with these channels; gray and colour serve for one another."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes = series.get_axes(squeeze=True)
        check_pixels(series.size)
        pixels = series.asarray(squeeze=True)
    if pixels.ndim > 3 or not {"Y", "X"} <= set(axes):
        raise ValueError(f"it has the axes {axes}; height, width and channels are wanted")
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    first = next((place for place, axis in enumerate(axes) if axis not in "YX"), 0)
    bands = np.moveaxis(to_eight_bits(pixels, pixel_range), first, 0)
    pictures = tuple(Image.fromarray(np.ascontiguousarray(band)) for band in bands)
    if channels in MODES and len(bands) in MODES:
        return (Image.merge(MODES[len(bands)], pictures).convert(MODES[channels]),)
    check_bands(len(bands), channels)
    return pictures


def check_bands(found: int, channels: int) -> None:
    """Raise ValueError when an image has not the channels wanted."""
    if found != channels:
        raise ValueError(f"it has {found} channels, not {channels}; see --channels")


def to_eight_bits(pixels: np.ndarray, pixel_range: PixelRange | None = None) -> np.ndarray:
    """Pixels of any type as uint8. Raises ValueError when it is not known which values are black and white."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixel_range is None:
        low, high = np.nanmin(pixels), np.nanmax(pixels)
        whole = np.issubdtype(pixels.dtype, np.integer)
        if not (low >= 0 and high <= (65_535 if whole else 1)):
            raise ValueError(
                f"its pixels reach from {low:g} to {high:g}, and which are black and white is not known; "
                "give --pixel-range LOW HIGH"
            )
        if whole:
            return (pixels // 256).astype(np.uint8)
        pixel_range = (0.0, 1.0)
    low, high = pixel_range
    known = np.nan_to_num(pixels.astype(np.float32), nan=low, posinf=high, neginf=low)
    return np.rint((known.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
