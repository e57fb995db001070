"""HEIC and other HEIF pictures by pi-heif, with all of their bits."""

from functools import partial
from typing import Any

import numpy as np

from pcae.data.files.bounds import File, check_pixels
from pcae.data.files.codecs import decoded, optional
from pcae.data.files.stored import Alpha, Stored, kind_of

BANDS = {"L": 1, "I": 1, "LA": 2, "RGB": 3, "RGBA": 4}
"""How many bands there are, by pi-heif's names without depth."""


def read_heif(file: File) -> Stored:
    """The primary picture of a file, turned as its boxes say; the standard gives no say in that to EXIF data."""
    pi_heif = optional("pi_heif", "a HEIF picture (HEIC)")
    picture = pi_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    name = picture.mode.partition(";")[0]
    bands, bits = BANDS[name.upper()], picture.info["bit_depth"]
    alpha: Alpha = "premultiplied" if name.endswith("a") else "straight" if name.endswith("A") else "none"
    width, height = picture.size
    check_pixels(width, height, bands, 2 if bits > 8 else 1)
    return Stored(
        format="HEIF",
        kind=kind_of(np.dtype(np.uint16 if bits > 8 else np.uint8), bands),
        size=picture.size,
        load=partial(decoded, samples, picture),
        photometric="rgb" if bands > 2 else "gray",
        white=2.0**bits - 1,
        alpha=alpha,
        opaque=True,
    )


def samples(picture: Any) -> np.ndarray:
    """A copy of an opened picture's samples: they lie in memory of its own, which goes with it."""
    return np.array(picture)
