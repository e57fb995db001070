"""Pictures of 8 bits by Pillow: PNG, WebP, GIF, BMP and all else that it knows and nothing here reads better."""

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from pcae.data.files.bounds import File, check_pixels, open_picture
from pcae.data.files.stored import ORIENTATION, Samples, Stored, as_bands


def read_picture(file: File, known: str | None = None) -> Stored:
    """A picture that Pillow reads by itself. known: its format, where the first bytes have told it."""
    image = open_picture(file, known)
    check_pixels(image.width, image.height)
    return of_pillow(image)


def of_pillow(image: Image.Image, shrink: Callable[[int, int], None] | None = None) -> Stored:
    """What an opened picture says of itself."""
    return Stored(
        format=image.format or "",
        kind=image.mode,
        size=image.size,
        load=partial(loaded, image),
        white=65_535.0 if image.format == "SGI" and halved(image) else None,
        orientation=partial(turn_of, image),
        shrink=shrink,
        opaque=True,
    )


def halved(image: Image.Image) -> bool:
    """Whether Pillow takes the upper 8 of 16 bits of an SGI file."""
    return "16" in str(image.tile)  # pyright: ignore[reportAttributeAccessIssue]


def loaded(image: Image.Image) -> Samples:
    """The pixels of an opened picture; those of more than 8 bits as an array."""
    image.load()
    return as_bands(np.asarray(image)) if image.mode.startswith(("I", "F")) else image


def turn_of(image: Image.Image) -> int:
    """The orientation that EXIF data say."""
    return image.getexif().get(ORIENTATION, 1)
