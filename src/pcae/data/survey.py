"""One look at every image of a source: what it is, whether it can be read, what it looks like in small."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from pcae.data.batches import scanning_workers
from pcae.data.crops import to_array
from pcae.data.files.bounds import decoding
from pcae.data.files.decode import Source, Unreadable, opened, reason_of
from pcae.data.files.eight_bits import MODES, SIXTEEN, EightBits, as_channels, samples_of, shown
from pcae.data.files.readers import read
from pcae.data.files.stored import Samples, Stored
from pcae.data.images import Images
from pcae.data.lazy import Lazy
from pcae.data.packed.reading import from_array

SKETCH = 16
"""Side of the small gray picture by which images are compared."""
PLACES = {"TIFF", "JPEG2000"}
"""Formats of maps and satellites, whose fourth band may be called opacity and be another one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one image is. Without `error`, it was read as a run would read it.

    kind: channels or pixel type as the file has them. size: width and height before any turning. values: the least
    and the largest known number, opacity aside, of files that --pixel-range is for; declared: such a file says which
    number is white, and not only that it has 16 bits.
    digest: of the file's bytes. sketch: 16 x 16 gray pixels. contrast: the largest standard deviation of a colour in
    a sketch. missing: share of the pixels that are no numbers, or that the file calls none. opacities: how many values
    the fourth band of a TIFF or JPEG 2000 has where it is said to be opacity. mean, square: of the known pixels in
    [0, 1] and of their squares, by channel.
    """

    format: str = "unknown"
    kind: str = "unknown"
    size: tuple[int, int] = (0, 0)
    bytes: int = 0
    digest: str = ""
    error: str | None = None
    values: tuple[float, float] | None = None
    declared: bool = False
    sketch: np.ndarray | None = None
    contrast: float = 0.0
    missing: float = 0.0
    opacities: int = 0
    mean: tuple[float, ...] = ()
    square: tuple[float, ...] = ()


def look(images: Images, index: int) -> Facts:
    """What the image at an index is; an unreadable one has an error and as much else as could be told."""
    known: dict[str, Any] = {}
    try:
        source = images.source(index)
        for facts in of_array(images, source) if isinstance(source, np.ndarray) else of_file(images, source):
            known |= facts
    except Unreadable as error:
        return Facts(**known, error=error.reason)
    except Exception as error:  # as `decode_part`, which reads it in a run
        return Facts(**known, error=reason_of(error))
    return Facts(**known)


def of_array(images: Images, pixels: np.ndarray) -> Iterator[dict[str, Any]]:
    """What an array of a reserved word or of packed pixels is."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    height, width = pixels.shape[:2]
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = MODES.get(bands, f"uint8 x {bands}")
    yield {"format": "array", "kind": kind, "size": (width, height), "bytes": pixels.nbytes, "digest": digest}
    yield of_pixels(from_array(pixels, images.channels), None)


def of_file(images: Images, source: Source) -> Iterator[dict[str, Any]]:
    """What a file says of itself, then what its samples are, then how they look in a run."""
    with decoding(), opened(source) as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))  # pyright: ignore[reportArgumentType]
        yield {"bytes": file.seek(0, io.SEEK_END), "digest": digest.hexdigest()}
        file.seek(0)
        stored = read(file)
        yield {"format": stored.format, "kind": stored.kind, "size": stored.size}
        samples = samples_of(stored, images.channels, images.bands)
        yield of_samples(stored, samples)
        yield of_pixels(*shown(stored, samples, images.channels, images.pixel_range, images.bands))


def of_samples(stored: Stored, samples: Samples) -> dict[str, Any]:
    """What the numbers in a file are."""
    if isinstance(samples, Image.Image):
        return {}
    four = stored.alpha == "straight" and samples.shape[2] == 4 and stored.format in PLACES
    opacities = len(np.unique(samples[..., -1])) if four else 0
    if samples.dtype in (np.uint8, bool) and stored.window is None and stored.scale is None:
        return {"opacities": opacities}
    colours = samples[..., : samples.shape[2] - (stored.alpha != "none")]
    known = colours[(colours != stored.nodata) & ~np.isnan(colours)]
    values = (float(known.min()), float(known.max())) if known.size else None
    declared = stored.window is not None or stored.white not in {None, SIXTEEN[1]}
    return {"opacities": opacities, "values": values, "declared": declared}


def of_pixels(pixels: EightBits, missing: np.ndarray | None) -> dict[str, Any]:
    """What a run sees of an image."""
    small = sketch_of(pixels)
    mean, square = moments(pixels, missing)
    share = 0.0 if missing is None else float(missing.mean())
    gray = as_channels(small if small.shape[2] in MODES else small[..., :1], 1)[..., 0]
    contrast = float(small.std((0, 1)).max())
    return {"sketch": gray, "contrast": contrast, "missing": share, "mean": mean, "square": square}


def size_of(source: Source) -> tuple[int, int]:
    """Width and height by the header of a file. Raises errors of every kind, ValueError for too many pixels."""
    with decoding(), opened(source) as file:
        return read(file).size


def sketch_of(pixels: EightBits) -> UInt8[np.ndarray, "rows columns channels"]:
    """The image in very small."""
    whole = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)
    return to_array(interpolate(whole[None], (SKETCH, SKETCH), mode="bilinear", antialias=True)[0])


def moments(pixels: EightBits, missing: np.ndarray | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean of the known pixels in [0, 1] and of their squares, by channel; nothing of none."""
    rows = pixels.reshape(len(pixels), -1) if missing is None else pixels[~missing]
    if not rows.size:
        return (), ()
    squares, wide = np.square(rows, dtype=np.uint16), np.uint32 if len(rows) < 2**16 else np.float64
    sums = [numbers.sum(0, dtype=wide).reshape(-1, pixels.shape[2]).sum(0, np.float64) for numbers in (rows, squares)]
    count = rows.size // pixels.shape[2]
    return tuple((sums[0] / count / 255).tolist()), tuple((sums[1] / count / 255**2).tolist())


def survey(images: Images, workers: int | None = None, chosen: Sequence[int] | None = None) -> DataLoader:
    """The facts of all images, or of the chosen ones, in order, some at a time; in as many processes as cores, unless
    said otherwise."""
    if workers is None:
        workers = scanning_workers(images, len(images) if chosen is None else len(chosen))
    looks = Lazy(partial(look, images), range(len(images)))
    return DataLoader(looks, batch_size=16, sampler=chosen, num_workers=workers, collate_fn=list)
