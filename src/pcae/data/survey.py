"""One look at every image of a source: what it is, whether it can be read, what it looks like in small."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from pcae.data.batches import scanning_workers
from pcae.data.files.bounds import File, check_pixels, decoding, open_picture, open_tiff, tiff_pixels
from pcae.data.files.decode import MODES, Planes, Source, Unreadable, is_tiff, opened, tiff_shape
from pcae.data.images import Images
from pcae.data.lazy import Lazy

SKETCH = 16
"""Side of the small gray picture by which images are compared."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one image is. Without `error`, it was read as a run would read it.

    kind: channels or pixel type as the file has them. size: width and height before any turning. values: the least
    and the largest pixel of files with more than 8 bits. digest: of the file's bytes. sketch: 16 x 16 gray pixels.
    mean, square: of the pixels in [0, 1] and of their squares, by channel.
    """

    format: str = "unknown"
    kind: str = "unknown"
    size: tuple[int, int] = (0, 0)
    bytes: int = 0
    digest: str = ""
    error: str | None = None
    values: tuple[float, float] | None = None
    sketch: np.ndarray | None = None
    mean: tuple[float, ...] = ()
    square: tuple[float, ...] = ()


def look(images: Images, index: int) -> Facts:
    """What the image at an index is; an unreadable one has an error and as much else as could be told."""
    known: dict[str, Any] = {}
    try:
        source = images.source(index)
        with decoding():
            known = of_array(source) if isinstance(source, np.ndarray) else of_file(source)
        planes = images.open(index)
    except Unreadable as error:
        return Facts(**known, error=error.reason)
    mean, square = moments(planes)
    return Facts(**known, sketch=sketch(planes), mean=mean, square=square)


def of_array(pixels: np.ndarray) -> dict[str, Any]:
    """What an array of a reserved word or of packed pixels is."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    height, width = pixels.shape[:2]
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = MODES.get(bands, f"uint8 x {bands}")
    return {"format": "array", "kind": kind, "size": (width, height), "bytes": pixels.nbytes, "digest": digest}


def of_file(source: Source) -> dict[str, Any]:
    """What a file says of itself, as far as it says anything."""
    known: dict[str, Any] = {}
    with suppress(Exception), opened(source) as file:  # a torn header raises any error; reading the image says which
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))  # pyright: ignore[reportArgumentType]
        known = {"bytes": file.seek(0, io.SEEK_END), "digest": digest.hexdigest()}
        file.seek(0)
        for facts in read_facts(file):
            known |= facts
    return known


def size_of(source: Source) -> tuple[int, int]:
    """Width and height by the header of a file. Raises errors of every kind, ValueError for too many pixels."""
    with opened(source) as file:
        return next(read_facts(file))["size"]


def read_facts(file: File) -> Iterator[dict[str, Any]]:
    """What the header of a file says, then, where it has more than 8 bits, the least and the largest pixel."""
    return tiff_facts(file) if is_tiff(file) else picture_facts(file)


def picture_facts(file: File) -> Iterator[dict[str, Any]]:
    """The facts of a file that Pillow reads."""
    with open_picture(file) as image:
        check_pixels(*image.size)
        kind = "I;16" if (image.format, image.mode) == ("PNG", "I") else image.mode  # Pillow 10 says I
        yield {"format": image.format or "", "kind": kind, "size": image.size}
        if kind.startswith(("I", "F")):
            yield {"values": extremes(np.asarray(image))}


def tiff_facts(opened_file: File) -> Iterator[dict[str, Any]]:
    """The facts of a TIFF."""
    with open_tiff(opened_file) as file:
        shape, dtype = tiff_shape(file), file.series[0].dtype
        bands = next((length for axis, length in shape.items() if axis not in "YX"), 1)
        yield {"format": "TIFF", "kind": f"{dtype} x {bands}", "size": (shape["X"], shape["Y"])}
        if dtype.itemsize > 1:
            yield {"values": extremes(tiff_pixels(file))}


def extremes(pixels: np.ndarray) -> tuple[float, float]:
    """The least and the largest pixel that is a number."""
    return float(np.nanmin(pixels)), float(np.nanmax(pixels))


def sketch(planes: Planes) -> np.ndarray:
    """A small gray picture of an image, or of its first channel where they are many."""
    gray = planes[0].convert("L").resize((SKETCH, SKETCH), Image.Resampling.BILINEAR)
    return np.array(gray)  # a copy that torch may take


def moments(planes: Planes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean of the pixels in [0, 1] and of their squares, by channel, from the histograms."""
    counts = np.array([plane.histogram() for plane in planes], dtype=np.float64).reshape(-1, 256)
    shares = counts / counts.sum(1, keepdims=True)
    levels = np.arange(256) / 255
    return tuple((shares @ levels).tolist()), tuple((shares @ levels**2).tolist())


def survey(images: Images, workers: int | None = None) -> DataLoader:
    """The facts of all images, in order, some at a time; in as many processes as cores, unless said otherwise."""
    if workers is None:
        workers = scanning_workers(images, len(images))
    looks = Lazy(partial(look, images), range(len(images)))
    return DataLoader(looks, batch_size=16, num_workers=workers, collate_fn=list)
