"""An image file -> upright pixels of 8 bits, whatever its format; what cannot be read is refused in one way."""

import io
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from pcae.data.files.bounds import MOST_PIXELS, File, decoding
from pcae.data.files.eight_bits import Bands, EightBits, PixelRange, samples_of, shown
from pcae.data.files.readers import read
from pcae.data.files.stored import MIRRORED, Size, Stored, flipped

Source = str | bytes
"""Where an image is: the path of a file, or all that would stand in one."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""
ROOM = 2.0
"""How many times as large as wanted the part of a reduced picture is at least. From 1.5 on, no part of a photograph is
further than 2.1 gray levels on average from what full resolution gives; at 1, sharp ones are 8 away."""


class Unreadable(ValueError):
    """A file that is no image or that has no pixels for us. `reason` leaves its name out."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"image {path!r} cannot be read: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)


class Part(NamedTuple):
    """A part of a picture, and the size in which it is wanted. room: how many times as large a reduced one still is."""

    box: Box
    target: Size
    room: float = ROOM


Choose = Callable[[Size], Part]
"""The part that is wanted of an upright picture of a size in full resolution."""


class Decoded(NamedTuple):
    """A picture, the box of the part that is wanted of it, and where it lacks data, as `Shown` has it."""

    pixels: EightBits
    box: Box
    missing: np.ndarray | None = None


def check_pixel_range(pixel_range: PixelRange | None) -> None:
    """Raise ValueError for values of which none is black and a larger one white."""
    if pixel_range is not None and not pixel_range[0] < pixel_range[1]:
        raise ValueError(f"pixel_range must be two values, black below white, got {pixel_range}")


def size_of(pixels: EightBits) -> Size:
    """Width and height."""
    return pixels.shape[1], pixels.shape[0]


def whole(size: Size) -> Part:
    """All of a picture as it is."""
    return Part((0.0, 0.0, float(size[0]), float(size[1])), size)


def decode(source: Source, channels: int, pixel_range: PixelRange | None = None, name: str | None = None) -> EightBits:
    """The first picture in a file, turned as its EXIF data say, with this number of channels of 8 bits.

    channels 1 and 3: gray and colour, transparency laid over white. 4: colour and opacity, or the four bands of a
    TIFF. Others: the bands that the file has. pixel_range: the numbers in files of more than 8 bits that become 0 and
    255; without it, what the file says, 0 to 65,535 for 16 bits, and 0 to 1 for floats. name: what messages call it;
    without it, the path. Raises Unreadable.
    """
    return decode_part(source, channels, whole, pixel_range, name).pixels


def decode_part(
    source: Source,
    channels: int,
    choose: Choose,
    pixel_range: PixelRange | None = None,
    name: str | None = None,
    bands: Bands | None = None,
) -> Decoded:
    """A picture as `decode` has it, of which a part is wanted, and the box of the part in it.

    bands: which of the file's become the channels, from 1, in their order; an opacity is one of them then.
    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where the part is then still `room` times as large as wanted, and
    only as far down as the part reaches.
    """
    try:
        with decoding(), opened(source) as file:
            stored = read(file)
            box = reduce(stored, choose)
            pixels, missing = shown(stored, samples_of(stored, channels, bands), channels, pixel_range, bands)
            return Decoded(pixels, box or choose(size_of(pixels)).box, missing)
    except Exception as error:  # decoders raise errors of every kind on strangers' files
        raise Unreadable(name or str(source), reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Why something could not be read, in one line and without its name."""
    reason = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is no image, or of a format that is not read; save images as TIFF or PNG"
    elif isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        reason = f"it has more pixels than are safe to unpack ({MOST_PIXELS:,}); shrink it"
    elif isinstance(error, MemoryError):
        reason = "there is not enough memory for it; shrink it"
    return " ".join(reason.split())


def opened(source: Source) -> File:
    """A file to read."""
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: PTH123 - a Path takes 20 us


def reduce(stored: Stored, choose: Choose) -> Box | None:
    """Have a JPEG decoded as small as the part wanted of it allows; the part's box in the upright picture.

    None for files that are always decoded in full.
    """
    if stored.shrink is None:
        return None
    orientation = stored.orientation()
    size = stored.size if orientation < 5 else flipped(stored.size)
    part = choose(size)
    times = reduction(part)
    stored.shrink(times, lowest(part) if orientation == 1 else stored.size[1])
    # sides that do not divide are rounded up: what a mirrored picture begins with is then no part of it
    across, down = (
        mirrored * (-side % times) for mirrored, side in zip(MIRRORED.get(orientation, (0, 0)), size, strict=True)
    )
    left, top, right, bottom = part.box
    return (left + across) / times, (top + down) / times, (right + across) / times, (bottom + down) / times


def lowest(part: Part) -> int:
    """The last row that counts for a part of a picture, as far beside it as a new pixel's filter reaches."""
    _, top, _, bottom = part.box
    return math.ceil(bottom + 2 * max((bottom - top) / part.target[1], 1))


def reduction(part: Part) -> int:
    """How many times smaller a JPEG is decoded for a part of it: 1, 2, 4 or 8, which its decoder does in passing."""
    (left, top, right, bottom), (width, height), room = part
    most = min((right - left) / width, (bottom - top) / height) / room
    return max(times for times in (1, 2, 4, 8) if times <= max(most, 1))
