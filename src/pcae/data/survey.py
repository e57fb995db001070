"""One look at every image of a source: what it is, whether it can be read, what it looks like in small."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset

from pcae.data.batches import scanning_workers
from pcae.data.decode import Planes, Unreadable
from pcae.data.images import Images

SKETCH = 16
"""Side of the small grey picture by which images are compared."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one image is. Without `error`, it was read as a run would read it.

    kind: channels or pixel type as the file has them. size: width and height before any turning. values: the least
    and the largest pixel of files with more than 8 bits. digest: of the file's bytes. sketch: 16 x 16 grey pixels.
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
    item = images.items[index]
    known = of_array(item) if isinstance(item, np.ndarray) else of_file(str(item))
    try:
        planes = images.open(index)
    except Unreadable as error:
        return Facts(**known, error=error.reason)
    mean, square = moments(planes)
    return Facts(**known, sketch=sketch(planes), mean=mean, square=square)


def of_array(pixels: np.ndarray) -> dict[str, Any]:
    """What an array of a reserved word is."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    height, width = pixels.shape
    return {"format": "array", "kind": "L", "size": (width, height), "bytes": pixels.nbytes, "digest": digest}


def of_file(path: str) -> dict[str, Any]:
    """What a file says of itself, as far as it says anything."""
    known: dict[str, Any] = {}
    try:
        raw = Path(path).read_bytes()
        known = {"bytes": len(raw), "digest": hashlib.blake2b(raw, digest_size=16).hexdigest()}
        return known | (of_tiff(path) if raw[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"} else of_header(path))
    except Exception:  # a torn header raises errors of every kind; the reason comes from reading the image itself
        return known


def of_header(path: str) -> dict[str, Any]:
    """Format, mode and size from a header that Pillow reads; the reach of pixels of more than 8 bits."""
    try:
        with Image.open(path) as image:
            deep = image.mode.startswith(("I", "F"))
            values = tuple(map(float, cast(tuple[float, float], image.getextrema()))) if deep else None
            return {"format": image.format, "kind": image.mode, "size": image.size, "values": values}
    except UnidentifiedImageError:
        return {}


def of_tiff(path: str) -> dict[str, Any]:
    """The same of a TIFF, whatever its bands and pixels."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        shape = dict(zip(series.get_axes(squeeze=True), series.get_shape(squeeze=True), strict=True))
        height, width = shape.pop("Y"), shape.pop("X")
        values = None
        if series.dtype not in {np.dtype("uint8"), np.dtype("bool")}:
            pixels = series.asarray()
            values = (float(np.nanmin(pixels)), float(np.nanmax(pixels)))
        bands = " x ".join(map(str, shape.values())) or "1"
    return {"format": "TIFF", "kind": f"{series.dtype} x {bands}", "size": (width, height), "values": values}


def sketch(planes: Planes) -> np.ndarray:
    """A small grey picture of an image, or of its first channel where they are many."""
    grey = planes[0].convert("L").resize((SKETCH, SKETCH), Image.Resampling.BILINEAR)
    return np.array(grey)  # a copy that torch may take


def moments(planes: Planes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean of the pixels in [0, 1] and of their squares, by channel, from the histograms."""
    counts = np.array([plane.histogram() for plane in planes], dtype=np.float64).reshape(-1, 256)
    shares = counts / counts.sum(1, keepdims=True)
    levels = np.arange(256) / 255
    return tuple((shares @ levels).tolist()), tuple((shares @ levels**2).tolist())


@dataclass(frozen=True)
class Looks(Dataset):
    """The facts of every image, for a loader that looks in parallel."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Facts:
        return look(self.images, index)


def survey(images: Images, workers: int | None = None) -> Iterator[Facts]:
    """The facts of all images, in order; in as many processes as there are cores, unless said otherwise."""
    workers = scanning_workers(images, len(images)) if workers is None else workers
    for facts in DataLoader(Looks(images), batch_size=16, num_workers=workers, collate_fn=list):
        yield from facts
