"""An image file -> upright pictures of 8 bits, whatever its format; what cannot be read is refused in one way."""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pcae.data.files.bounds import MOST_PIXELS, File, check_pixels, decoding, open_picture, open_tiff, tiff_pixels

Source = str | bytes
"""Where an image is: the path of a file, or all that would stand in one."""
Planes = tuple[Image.Image, ...]
"""One picture of mode L or RGB for 1 or 3 channels, else one of mode L for each channel."""
PixelRange = tuple[float, float]
Size = tuple[int, int]
"""Width and height."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""
MODES = {1: "L", 3: "RGB"}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFFs begin."""
BITS, SAMPLES = 258, 277
"""TIFF's tags for the bits of each band and the number of bands."""
ORIENTATION = 274
"""EXIF's tag for how a picture is turned: 1 is upright, 5 to 8 lie on their side."""
MIRRORED = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
"""Whether turning a picture upright makes its left the right and its top the bottom of what is stored."""
ROOM = 2
"""How many times as large as wanted the part of a reduced picture is at least. At 2, no crop of a photograph is further
than 2 gray levels on average from what full resolution gives; at 1, sharp ones are 8 away."""


class Unreadable(ValueError):
    """A file that is no image or that has no pixels for us. `reason` leaves its name out."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"image {path!r} cannot be read: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)


class Part(NamedTuple):
    """A part of a picture, and the size in which it is wanted."""

    box: Box
    target: Size


Choose = Callable[[Size], Part]
"""The part that is wanted of an upright picture of a size in full resolution."""


def check_pixel_range(pixel_range: PixelRange | None) -> None:
    """Raise ValueError for values of which none is black and a larger one white."""
    if pixel_range is not None and not pixel_range[0] < pixel_range[1]:
        raise ValueError(f"pixel_range must be two values, black below white, got {pixel_range}")


def whole(size: Size) -> Part:
    """All of a picture as it is."""
    return Part((0.0, 0.0, float(size[0]), float(size[1])), size)


def decode(source: Source, channels: int, pixel_range: PixelRange | None = None, name: str | None = None) -> Planes:
    """The first picture in a file, turned as its EXIF data say, with this number of channels of 8 bits.

    channels 1 and 3: gray and colour, transparency laid over white. 4: colour and opacity, or the four bands of a
    TIFF. Others: the bands that the file has. pixel_range: the values of 16-bit and float pixels that become 0 and
    255; without it 0 to 65,535 and 0 to 1. name: what messages call it; without it, the path. Raises Unreadable.
    """
    return decode_part(source, channels, whole, pixel_range, name)[0]


def decode_part(
    source: Source, channels: int, choose: Choose, pixel_range: PixelRange | None = None, name: str | None = None
) -> tuple[Planes, Box]:
    """A picture as `decode` has it, of which a part is wanted, and the box of the part in it.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where the part is then still `ROOM` times as large as wanted.
    """
    try:
        with decoding():
            return planes_of(source, channels, choose, pixel_range)
    except Exception as error:  # decoders raise errors of every kind on strangers' files
        raise Unreadable(name or str(source), reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Why something could not be read, in one line and without its name."""
    reason = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is no image, or of a format that is not known"
    elif isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        reason = f"it has more pixels than are safe to unpack ({MOST_PIXELS:,}); shrink it"
    elif isinstance(error, MemoryError):
        reason = "there is not enough memory for it; shrink it"
    return " ".join(reason.split())


def opened(source: Source) -> File:
    """A file to read."""
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: PTH123 - a Path takes 20 us


def is_tiff(file: File) -> bool:
    """Whether a file that was just opened begins as a TIFF does."""
    start = file.read(4)
    file.seek(0)
    return start in TIFF


def planes_of(source: Source, channels: int, choose: Choose, pixel_range: PixelRange | None) -> tuple[Planes, Box]:
    """By Pillow where it can, by tifffile where it cannot: bands of any number and floats of any width."""
    with opened(source) as file:
        tiff = is_tiff(file)
        if tiff and channels not in MODES:
            return located(from_tiff(file, channels, pixel_range), choose)
        try:
            with open_picture(file) as image:
                check_pixels(image.width, image.height)
                if isinstance(image, JpegImageFile):
                    box = reduce(image, choose)
                    return from_pillow(image, channels, pixel_range), box
                if not beyond_pillow(image, pixel_range):
                    return located(from_pillow(image, channels, pixel_range), choose)
        except UnidentifiedImageError:
            if not tiff:
                raise
        file.seek(0)
        return located(from_tiff(file, channels, pixel_range), choose)


def located(planes: Planes, choose: Choose) -> tuple[Planes, Box]:
    """A picture in full resolution, and the box that is wanted of it."""
    return planes, choose(planes[0].size).box


def reduce(image: JpegImageFile, choose: Choose) -> Box:
    """Have an opened JPEG decoded as small as the part wanted of it allows; the part's box in the upright picture."""
    orientation = image.getexif().get(ORIENTATION, 1)
    size = image.size if orientation < 5 else (image.height, image.width)
    part = choose(size)
    times = reduction(part)
    if times > 1:
        image.draft(None, (image.width // times, image.height // times))
    # sides that do not divide are rounded up: what a mirrored picture begins with is then no part of it
    across, down = (
        mirrored * (-side % times) for mirrored, side in zip(MIRRORED.get(orientation, (0, 0)), size, strict=True)
    )
    left, top, right, bottom = part.box
    return (left + across) / times, (top + down) / times, (right + across) / times, (bottom + down) / times


def reduction(part: Part) -> int:
    """How many times smaller a JPEG is decoded for a part of it: 1, 2, 4 or 8, which its decoder does in passing."""
    (left, top, right, bottom), (width, height) = part
    room = min((right - left) / width, (bottom - top) / height) / ROOM
    return max(times for times in (1, 2, 4, 8) if times <= max(room, 1))


def beyond_pillow(image: Image.Image, pixel_range: PixelRange | None) -> bool:
    """Whether Pillow would read a TIFF in part only: 8 of its bits, or 3 of its bands.

    Raises ValueError for a PNG of 16-bit colours when they are to be scaled: nothing here reads all of its bits.
    """
    if isinstance(image, TiffImageFile):
        deep = max(image.tag_v2.get(BITS, (1,))) > 8 and image.mode in {"L", "LA", "RGB", "RGBA"}
        known = 3 if image.mode == "RGBX" else len(image.getbands())
        return deep or image.tag_v2.get(SAMPLES, 1) > known
    deep_colours = isinstance(image, PngImageFile) and "16B" in str(image.tile) and image.mode != "I;16"
    if deep_colours and pixel_range is not None:
        raise ValueError("a PNG of 16-bit colours is read as 8 bits, so that --pixel-range has no say; save it as TIFF")
    return False


def from_pillow(image: Image.Image, channels: int, pixel_range: PixelRange | None) -> Planes:
    """An opened image with these channels, without copies that nothing asks for."""
    image.load()
    upright = image if image.getexif().get(ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        pixels = np.asarray(upright)
        pixels = pixels.astype(np.uint16) if image.format == "PNG" else pixels  # Pillow 10 has them in 32 bits
        upright = Image.fromarray(to_eight_bits(pixels, pixel_range))
    if channels in MODES:
        opaque = over_white(upright)
        return (opaque if opaque.mode == MODES[channels] else opaque.convert(MODES[channels]),)
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


def from_tiff(opened_file: File, channels: int, pixel_range: PixelRange | None) -> Planes:
    """The first series of a TIFF with these channels; gray and colour serve for one another.

    Pages are bands for any number of channels but 1 and 3, for which the first page counts.
    """
    with open_tiff(opened_file) as file:
        shape = tiff_shape(file)
        pixels = tiff_pixels(file)
        opacity = bool({1, 2} & set(file.pages.first.extrasamples))
    first = next((place for place, axis in enumerate(shape) if axis not in "YX"), None)
    bands = np.moveaxis(pixels, first, 0) if first is not None else pixels[None]
    if channels in MODES and not {"S", "C"} & shape.keys():
        bands = bands[:1]
    bands = to_eight_bits(bands, pixel_range)
    pictures = tuple(Image.fromarray(np.ascontiguousarray(band)) for band in bands)
    modes = MODES | ({2: "LA", 4: "RGBA"} if opacity else {})
    if channels in MODES and len(bands) in modes:
        return (over_white(Image.merge(modes[len(bands)], pictures)).convert(MODES[channels]),)
    check_bands(len(bands), channels)
    return pictures


def tiff_shape(file: tifffile.TiffFile) -> dict[str, int]:
    """Lengths of the axes of a TIFF's first series: Y, X and at most one more. Raises ValueError for other ones."""
    series = file.series[0]
    shape = dict(zip(series.get_axes(squeeze=True), series.get_shape(squeeze=True), strict=True))
    if not {"Y", "X"} <= shape.keys() or len(shape) > 3:
        raise ValueError(f"it has the axes {series.axes}; height, width and channels are wanted")
    bands = next((length for axis, length in shape.items() if axis not in "YX"), 1)
    check_pixels(shape["X"], shape["Y"], bands, series.dtype.itemsize)
    return shape


def check_bands(found: int, channels: int) -> None:
    """Raise ValueError when an image has not the channels wanted."""
    if found != channels:
        raise ValueError(f"it has {found} channels, not {channels}; see --channels")


def to_eight_bits(pixels: np.ndarray, pixel_range: PixelRange | None = None) -> np.ndarray:
    """Pixels of any type as uint8: 16 bits divided by 256, floats of [0, 1] times 255, others by `pixel_range`.

    Raises ValueError when it is not known which values are black and white.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixel_range is None and pixels.dtype.newbyteorder("=") == np.uint16:
        return (pixels // 256).astype(np.uint8)
    if pixel_range is None:
        low, high = np.nanmin(pixels), np.nanmax(pixels)
        if not (np.issubdtype(pixels.dtype, np.floating) and low >= 0 and high <= 1):
            raise ValueError(
                f"its {pixels.dtype} pixels reach from {low:g} to {high:g}, and which mean black and white is unknown; "
                "give --pixel-range LOW HIGH"
            )
        pixel_range = (0.0, 1.0)
    low, high = pixel_range
    known = np.nan_to_num(pixels.astype(np.float32), nan=low, posinf=high, neginf=low)
    return np.rint((known.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
