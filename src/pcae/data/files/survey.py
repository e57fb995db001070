"""One look at every image of a source: what it is, whether it can be read, what it looks like in small."""

import hashlib
import io
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pcae.data.batches import count_cores
from pcae.data.files.bounds import File, check_pixels, decoding, open_picture, open_tiff, tiff_pixels
from pcae.data.files.decode import MODES, Planes, Source, Unreadable, is_tiff, opened, tiff_shape
from pcae.data.images import Images

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


class Header(NamedTuple):
    """What a file says of itself: format, channels or pixel type, width and height; whether it has over 8 bits."""

    format: str
    kind: str
    size: tuple[int, int]
    deep: bool


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
    try:
        with opened(source) as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))  # pyright: ignore[reportArgumentType]
            known = {"bytes": file.seek(0, io.SEEK_END), "digest": digest.hexdigest()}
        header = header_of(source)
        known |= {"format": header.format, "kind": header.kind, "size": header.size}
        return known | ({"values": values_of(source)} if header.deep else {})
    except Exception:  # a torn header raises errors of every kind; the reason comes from reading the image itself
        return known


def header_of(source: Source) -> Header:
    """The header of a file. Raises errors of every kind when it has none, ValueError for too many pixels."""
    with opened(source) as file:
        return tiff_header(file) if is_tiff(file) else pillow_header(file)


def pillow_header(file: File) -> Header:
    """The header of a file that Pillow reads."""
    with open_picture(file) as image:
        check_pixels(*image.size)
        kind = "I;16" if (image.format, image.mode) == ("PNG", "I") else image.mode  # Pillow 10 says I
        return Header(image.format or "", kind, image.size, kind.startswith(("I", "F")))


def tiff_header(opened_file: File) -> Header:
    """The header of a TIFF."""
    with open_tiff(opened_file) as file:
        shape, dtype = tiff_shape(file), file.series[0].dtype
        bands = next((length for axis, length in shape.items() if axis not in "YX"), 1)
        return Header("TIFF", f"{dtype} x {bands}", (shape["X"], shape["Y"]), dtype.itemsize > 1)


def values_of(source: Source) -> tuple[float, float]:
    """The least and the largest pixel of a file with more than 8 bits."""
    with opened(source) as file:
        if is_tiff(file):
            with open_tiff(file) as tiff:
                pixels = tiff_pixels(tiff)
        else:
            with open_picture(file) as image:
                pixels = np.asarray(image)
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


@dataclass(frozen=True)
class Looks(Dataset):
    """The facts of every image, for a loader that looks in parallel."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Facts:
        return look(self.images, index)


def survey(images: Images, workers: int | None = None) -> DataLoader:
    """The facts of all images, in order, some at a time; in as many processes as cores, unless said otherwise."""
    if workers is None:
        workers = 0 if isinstance(images.items, np.ndarray) else min(count_cores(), len(images) // 50)
    return DataLoader(Looks(images), batch_size=16, num_workers=workers, collate_fn=list)
