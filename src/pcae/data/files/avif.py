"""AVIF by Pillow; by imagecodecs where it has 10 or 12 bits, of which Pillow takes 8; animations stay at 8."""

from dataclasses import replace
from functools import partial

import imagecodecs

from pcae.data.files.bounds import File
from pcae.data.files.boxes import boxes
from pcae.data.files.codecs import decoded
from pcae.data.files.pictures import read_picture
from pcae.data.files.stored import Stored

CONFIGURATION, MOVIE = b"av1C", b"moov"
DEEP, TWELVE = 0x40, 0x20


def read_avif(file: File) -> Stored:
    """An AVIF with all of its bits."""
    content = file.read()
    file.seek(0)
    picture = read_picture(file)
    said = content.partition(CONFIGURATION)[2]
    flags = said[2] if len(said) > 2 else 0
    if not flags & DEEP:
        return picture
    bits = 12 if flags & TWELVE else 10
    if any(kind == MOVIE for kind, _ in boxes(content)):  # one frame by imagecodecs would end the process
        return replace(picture, white=2.0**bits - 1)
    return replace(
        picture,
        kind="uint16",
        load=partial(decoded, imagecodecs.avif_decode, content, index=0),
        photometric="gray" if picture.kind in {"L", "LA"} else "rgb",
        alpha="straight" if picture.kind in {"LA", "RGBA"} else "none",
        white=2.0**bits - 1,
    )
