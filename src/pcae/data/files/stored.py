"""An image as its file has it: samples, and what the file says of them; every reader makes this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

Size = tuple[int, int]
"""Width and height."""
Samples = np.ndarray | Image.Image
"""An array of height x width x bands, or a picture of 8 bits, which Pillow decoded and which stays as it is."""
Photometric = Literal["gray", "white is zero", "rgb", "cmyk"]
"""What the bands are. A file of other bands has them as gray."""
Alpha = Literal["none", "straight", "premultiplied"]
ORIENTATION = 274
"""EXIF's tag for how a picture is turned: 1 is upright, 5 to 8 lie on their side."""
MIRRORED = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
"""Whether turning a picture upright makes its left the right and its top the bottom of what is stored."""


def flipped(size: Size) -> Size:
    """Sides of what lies on its side."""
    return size[1], size[0]


def upright() -> int:
    """The orientation of a file that says nothing of it."""
    return 1


@dataclass(kw_only=True, slots=True)
class Stored:
    """What a file says of its image, read off its header, and how its samples are had.

    A reader has checked sides and bytes by then (`check_pixels`). `load` raises an error of any kind for a file that is
    cut off, however its library takes that.

    format, kind: what check-data calls the file and its samples. size: as stored, before any turning.
    load: the samples of the first image. load_pages: all pages as bands, where there are several; they are meant by a
    number of channels that is neither gray nor colour.
    white: the sample that is white where the file declares it, such as 4095 for 12 bits; else the samples' type says.
    window: the physical values that are black and white, where the file declares both. alpha: of the last band.
    orientation: 1 to 8 as in EXIF, asked after `load`, since it may stand behind the samples;
    before it, where there is `shrink`. nodata: the sample that stands for none. lacking: which pixels of what is stored
    lack data, where the file says so beside its samples. scale: slope and intercept of physical
    values, where the file has some; they are what --pixel-range means.
    shrink: has the samples decoded so many times smaller (1, 2, 4, 8), and at least down to a row of the full picture.
    opaque: 4 channels are colours and opacity, also
    where no band says how opaque; without it, they are four bands.
    """

    format: str
    kind: str
    size: Size
    load: Callable[[], Samples]
    load_pages: Callable[[], np.ndarray] | None = None
    photometric: Photometric = "gray"
    white: float | None = None
    window: tuple[float, float] | None = None
    alpha: Alpha = "none"
    orientation: Callable[[], int] = upright
    nodata: float | None = None
    lacking: Callable[[], np.ndarray] | None = None
    scale: tuple[float, float] | None = None
    shrink: Callable[[int, int], None] | None = None
    opaque: bool = False


def as_bands(samples: np.ndarray) -> np.ndarray:
    """Samples of height x width, or with bands behind them, as height x width x bands."""
    return samples if samples.ndim == 3 else samples[..., None]


def kind_of(dtype: np.dtype, bands: int) -> str:
    """What check-data calls samples."""
    return f"{dtype.newbyteorder('=').name} x {bands}"
