"""Samples as stored -> upright pictures of 8 bits, the same for every format."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from pcae.data.files.stored import MIRRORED, Samples, Stored, as_bands

EightBits = UInt8[np.ndarray, "height width channels"]
PixelRange = tuple[float, float]
Bands = tuple[int, ...]
"""Which bands of a file become the channels, from 1, in their order."""
MODES = {1: "L", 3: "RGB"}
SIXTEEN = (0.0, 65_535.0)
"""Black and white of 16 bits, of which the upper 8 are taken."""


class Shown(NamedTuple):
    """A picture, and where it lacks data: samples that are no numbers, or that the file calls none. They are black."""

    pixels: EightBits
    missing: np.ndarray | None


def shown(
    stored: Stored,
    samples: Samples,
    channels: int,
    pixel_range: PixelRange | None = None,
    bands: Bands | None = None,
) -> Shown:
    """Samples of a file as upright pixels of 8 bits.

    samples: what `samples_of` gave. pixel_range: the numbers in the file that become 0 and 255, physical ones where the
    file has a scale; it has no say in 8 bits without a window. bands: which of the file's become the channels. Raises
    ValueError for bands that are not there or not the channels wanted, and where black and white are not known.
    """
    if isinstance(samples, Image.Image):
        if stored.white is not None and pixel_range is not None:
            raise ValueError("it is read as 8 bits, so that --pixel-range has no say; save its picture as TIFF or PNG")
        if bands is None:
            return Shown(from_pillow(samples, stored.orientation(), channels), None)
        stored, samples = replace(stored, white=None), as_bands(np.asarray(plain(samples)))
    if bands is not None:
        stored, samples = picked(stored, samples, bands)
    check_bands(samples.shape[2], stored, channels)
    samples = turned(samples, stored.orientation())
    missing = missing_of(samples, stored)
    if stored.scale is not None:
        samples = samples * np.float64(stored.scale[0]) + stored.scale[1]
    low, high = limits(stored, samples, missing, pixel_range)
    levels = to_eight_bits(seen(stored, samples, (low, high), channels), low, high)
    if missing is not None:
        levels = np.where(missing[..., None], np.uint8(0), levels)
    return Shown(as_channels(levels, channels), missing)


def samples_of(stored: Stored, channels: int, bands: Bands | None = None) -> Samples:
    """The samples that a number of channels or bands mean: of the first page, or all pages as bands."""
    pages = bands is not None or channels not in MODES
    return stored.load_pages() if stored.load_pages is not None and pages else stored.load()


def picked(stored: Stored, samples: np.ndarray, bands: Bands) -> tuple[Stored, np.ndarray]:
    """Some bands of the samples in the order wanted, and what the file says of them.

    An opacity is a band like others then, and ink is what it is. Raises ValueError for a band that is not there.
    """
    found = samples.shape[2]
    if max(bands) > found:
        raise ValueError(f"it has {found} {'band' if found == 1 else 'bands'}, and no band {max(bands)}; see --bands")
    photometric = stored.photometric if stored.photometric == "white is zero" else "gray"
    stored = replace(stored, photometric=photometric, alpha="none", opaque=False)
    return stored, samples[..., [band - 1 for band in bands]]


def plain(image: Image.Image) -> Image.Image:
    """A picture with bands of 8 bits: RGB for a palette's indices and for other spaces, gray for black and white."""
    if image.mode in {"P", "PA", "LAB", "YCbCr", "HSV"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.convert("L") if image.mode == "1" else image


def from_pillow(image: Image.Image, orientation: int, channels: int) -> EightBits:
    """A loaded picture of 8 bits with these channels, without copies that nothing asks for."""
    upright = image if orientation == 1 else ImageOps.exif_transpose(image)
    if channels in MODES:
        opaque = over_white(upright)
        return as_bands(np.array(opaque if opaque.mode == MODES[channels] else opaque.convert(MODES[channels])))
    bands = as_bands(np.array(upright.convert("RGBA") if channels == 4 else upright))
    if bands.shape[2] != channels:
        raise ValueError(f"it has {bands.shape[2]} channels, not {channels}; see --channels and --bands")
    return bands


def over_white(image: Image.Image) -> Image.Image:
    """What a viewer shows of an image with transparent parts."""
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white


def turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Samples upright: what lies on its side changes rows for columns, then left for right and top for bottom."""
    samples = samples.swapaxes(0, 1) if 5 <= orientation <= 8 else samples
    across, down = MIRRORED.get(orientation, (0, 0))
    return samples[:: -1 if down else 1, :: -1 if across else 1]


def check_bands(found: int, stored: Stored, channels: int) -> None:
    """Raise ValueError when an image has not the channels wanted; gray and colour serve for one another."""
    colours = found - (stored.alpha != "none")
    picture = colours in {4 if stored.photometric == "cmyk" else 1, 3}
    wanted = picture if channels in MODES else found == channels or (channels == 4 and stored.opaque and picture)
    if not wanted:
        raise ValueError(f"it has {found} channels, not {channels}; see --channels and --bands")


def missing_of(samples: np.ndarray, stored: Stored) -> np.ndarray | None:
    """Which pixels lack a sample of theirs. A colour lacks only where all three are what the file calls none."""
    if samples.dtype.kind != "f" and stored.nodata is None and stored.lacking is None:
        return None
    colours = samples[..., : samples.shape[2] - (stored.alpha != "none")]
    missing = np.isnan(colours).any(2) if colours.dtype.kind == "f" else np.zeros(colours.shape[:2], bool)
    if stored.nodata is not None and can_hold(colours.dtype, stored.nodata):
        none = colours == colours.dtype.type(stored.nodata)
        missing |= none.all(2) if stored.photometric == "rgb" else none.any(2)
    if stored.lacking is not None:
        missing |= turned(stored.lacking(), stored.orientation())
    return np.asarray(missing) if missing.any() else None


def can_hold(dtype: np.dtype, value: float) -> bool:
    """Whether samples of a type may have a value."""
    if dtype.kind not in "iu":
        return dtype.kind == "f"
    return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def full(stored: Stored, dtype: np.dtype) -> float | None:
    """The sample that is white by what the file says, or by its type."""
    if stored.white is not None or stored.scale is not None:
        return stored.white
    return {"bool": 1.0, "uint8": 255.0, "uint16": SIXTEEN[1]}.get(dtype.newbyteorder("=").name)


def opaque_at(stored: Stored, dtype: np.dtype) -> float:
    """The opacity that hides what is behind: white, or the most that a type holds; 1 for floats."""
    return full(stored, dtype) or (float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0)


def limits(
    stored: Stored, samples: np.ndarray, missing: np.ndarray | None, pixel_range: PixelRange | None
) -> PixelRange:
    """The numbers that become black and white. Raises ValueError where they are not known."""
    white, dtype = full(stored, samples.dtype), samples.dtype.newbyteorder("=")
    if pixel_range is not None and (stored.window is not None or dtype not in (np.uint8, bool)):
        return pixel_range
    if stored.window is not None:
        return stored.window
    if white is not None:
        return 0.0, white
    known = samples if missing is None else samples[~missing]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    if low >= 0 and high <= 1 and (dtype.kind == "f" or not known.size):
        return 0.0, 1.0
    what = "physical values" if stored.scale is not None else f"{dtype.name} pixels"
    raise ValueError(
        f"its {what} reach from {low:g} to {high:g}, and which mean black and white is unknown; "
        "give --pixel-range LOW HIGH"
    )


def seen(stored: Stored, samples: np.ndarray, span: PixelRange, channels: int) -> np.ndarray:
    """The numbers of what is seen, from black to white: gray or colour over white, with opacity for 4 channels, or as
    many bands as are wanted.
    """
    if stored.alpha == "none" and stored.photometric in {"gray", "rgb"} and (channels != 4 or not stored.opaque):
        return samples
    numbers = samples.astype(np.float64 if samples.dtype.itemsize > 2 else np.float32)
    count = samples.shape[2] - (stored.alpha != "none")
    colours, opacity = numbers[..., :count], numbers[..., count:] / opaque_at(stored, samples.dtype)
    if stored.alpha == "premultiplied":
        colours = np.divide(colours, opacity, out=np.zeros_like(colours), where=opacity > 0)
    if channels not in MODES and not (channels == 4 and stored.opaque):
        light = colours if stored.photometric == "cmyk" else inverted(stored, colours, span)
        return np.concatenate([light, numbers[..., count:]], 2)
    colours = inverted(stored, colours.clip(*span), span)
    opacity = opacity if stored.alpha != "none" else np.ones_like(colours[..., :1])
    if channels in MODES:
        return colours * opacity + span[1] * (1 - opacity)
    opacity = span[0] + opacity * (span[1] - span[0])
    return np.concatenate([np.broadcast_to(colours, (*colours.shape[:2], 3)), opacity], 2)


def inverted(stored: Stored, colours: np.ndarray, span: PixelRange) -> np.ndarray:
    """Light of what is stored as ink."""
    low, high = span
    if stored.photometric == "white is zero":
        return low + high - colours
    if stored.photometric == "cmyk" and colours.shape[2] == 4:
        paper = (high - colours) / (high - low)
        return low + (high - low) * paper[..., :3] * paper[..., 3:]
    return colours


def to_eight_bits(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers from low to high as uint8; those beyond are black or white. 16 bits are divided by 256."""
    if numbers.dtype == np.uint8 and (low, high) == (0, 255):
        return numbers
    if (low, high) == SIXTEEN:
        whole = numbers if numbers.dtype.kind == "u" else np.rint(np.nan_to_num(numbers).clip(low, high))
        return (whole // 256).astype(np.uint8)
    known = numbers.astype(np.float64 if numbers.dtype.itemsize > 2 else np.float32)
    known = np.nan_to_num(known, nan=low, posinf=high, neginf=low).clip(low, high)
    return np.rint((known - low) * 255 / (high - low)).astype(np.uint8)


def as_channels(levels: np.ndarray, channels: int) -> EightBits:
    """EightBits with this number of channels; gray and colour serve for one another."""
    if levels.shape[2] == channels or channels not in MODES:
        return levels
    if channels == 3:
        return np.concatenate([levels] * 3, 2)
    return as_bands(np.array(Image.fromarray(np.ascontiguousarray(levels)).convert("L")))
