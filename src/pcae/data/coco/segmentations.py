"""Segmentations as COCO writes them, polygons or run lengths -> masks, by pycocotools."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

Rle = dict[str, Any]
"""A mask as run lengths down its columns: {"size": [height, width], "counts": a word}."""
Size = tuple[int, int]
"""Height and width."""


def package() -> Any:
    """The module pycocotools.mask. Raises ValueError with the remedy where it is not installed."""
    try:
        import pycocotools.mask
    except ImportError as error:
        raise ValueError("COCO's masks need the package pycocotools: pip install pycocotools") from error
    return pycocotools.mask


def to_rle(segmentation: Any, size: Size) -> Rle:
    """The mask of polygons, which count together, or of run lengths, in an image of this size."""
    if isinstance(segmentation, list):
        return package().merge(package().frPyObjects(segmentation, *size))
    if isinstance(segmentation["counts"], list):
        return package().frPyObjects(segmentation, *size)
    return segmentation


def to_mask(rle: Rle) -> UInt8[Tensor, "height width"]:
    """The pixels of a mask, 1 inside."""
    return torch.from_numpy(np.ascontiguousarray(package().decode(rle)))


def to_rles(masks: Bool[Tensor, "objects height width"] | UInt8[Tensor, "objects height width"]) -> list[Rle]:
    """Masks as run lengths whose counts are text, as JSON has them; packed one by one, without a copy of them all."""
    rles = (package().encode(np.asfortranarray(mask.to(torch.uint8).numpy())) for mask in masks)
    return [{"size": list(rle["size"]), "counts": rle["counts"].decode()} for rle in rles]


def area(rle: Rle) -> int:
    """How many pixels are inside a mask."""
    return int(package().area(rle))


def nested(polygons: list[list[int | float]], size: Size) -> bool:
    """Whether more than half of one of an object's polygons lies within the others."""
    parts = package().frPyObjects(polygons, *size)
    areas = [area(part) for part in parts]
    return sum(areas) - area(package().merge(parts)) > min(areas) / 2


def extent(segmentation: Any, size: Size) -> list[float]:
    """Left, top, width and height of polygons, or of run lengths in an image of this size."""
    if not isinstance(segmentation, list):
        return box_of(to_rle(segmentation, size))
    across, down = ([value for part in segmentation for value in part[axis::2]] for axis in (0, 1))
    left, top, right, bottom = (float(value) for value in (min(across), min(down), max(across), max(down)))
    return [left, top, right - left, bottom - top]


def shared(box: list[float], other: list[float]) -> float:
    """What two boxes (left, top, width, height) share, of all that they cover."""
    sides = [min(box[n] + box[n + 2], other[n] + other[n + 2]) - max(box[n], other[n]) for n in (0, 1)]
    common = max(sides[0], 0) * max(sides[1], 0)
    return common / max(box[2] * box[3] + other[2] * other[3] - common, 1e-9)


def box_of(rle: Rle) -> list[float]:
    """Left, top, width and height of a mask."""
    return package().toBbox(rle).tolist()


def boxes_of(masks: UInt8[Tensor, "objects height width"]) -> Int[Tensor, "objects 4"]:
    """Left, top, right and bottom of masks that are not empty; the last pixel is inside."""
    edges = []
    for along in (1, 2):  # the columns that have a pixel, then the rows
        there = masks.amax(along).bool()
        edges += [there.int().argmax(1), there.shape[1] - there.flip(1).int().argmax(1)]
    left, right, top, bottom = edges
    return torch.stack([left, top, right, bottom], 1)


THIN = 4.0
"""Pixels around a polygon below which it is looked at whether it covers any."""
MOST_OUTLINE = 2_000_000
"""Pixels along a polygon that is drawn: memory is taken for each."""


def fault(segmentation: Any, size: Size) -> str | None:
    """What is wrong with a segmentation in an image of this size, if anything is."""
    if not segmentation:
        return "has no segmentation"
    if isinstance(segmentation, list):
        return next(filter(None, (polygon_fault(polygon, size) for polygon in segmentation)), None)
    return rle_fault(segmentation, size) or (None if any(runs_of(segmentation)[1::2]) else "has an empty mask")


def polygon_fault(polygon: list[int | float], size: Size) -> str | None:
    """What is wrong with a polygon in an image of this size: pycocotools would draw a line of any length."""
    if len(polygon) < 6 or len(polygon) % 2:
        return f"has a polygon of {len(polygon)} numbers, and three corners are six"
    far = next((value for value in polygon if not -max(size) <= value <= 2 * max(size)), None)
    if far is not None:
        return f"has a polygon that reaches to {far:g}, far outside its image"
    across, down = polygon[::2], polygon[1::2]
    if len(polygon) * max(size) > MOST_OUTLINE and outline(polygon) > MOST_OUTLINE:
        return f"has a polygon whose outline has more than {MOST_OUTLINE:,} pixels"
    thin = (max(across) - min(across)) * (max(down) - min(down)) < THIN
    outside = max(across) <= 0 or max(down) <= 0 or min(across) >= size[1] or min(down) >= size[0]
    return "has a polygon of nothing" if (thin or outside) and not area(to_rle([polygon], size)) else None


def outline(polygon: list[int | float]) -> float:
    """Pixels along a closed polygon."""
    corners = np.asarray(polygon).reshape(-1, 2)
    return float(np.abs(corners - np.roll(corners, 1, 0)).max(1).sum())


def rle_fault(rle: Rle, size: Size) -> str | None:
    """What is wrong with run lengths in an image of this size: pycocotools would read what lies beside them."""
    if tuple(rle["size"]) != size:
        return f"has a mask of {rle['size'][1]} x {rle['size'][0]} pixels in an image of {size[1]} x {size[0]}"
    runs = runs_of(rle)
    if min(runs, default=-1) < 0 or sum(runs) != size[0] * size[1]:
        return f"has run lengths that do not fill the {size[1]} x {size[0]} pixels of its image"
    return None


def runs_of(rle: Rle) -> list[int]:
    """The lengths of the runs outside and inside in turn."""
    return rle["counts"] if isinstance(rle["counts"], list) else run_lengths(rle["counts"])


def run_lengths(counts: str) -> list[int]:
    """The run lengths in a word, none when it is no such word.

    A letter has five bits, lowest first, and whether another one follows; from the fourth run on, numbers are what is
    added to the one before the last.
    """
    codes = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return []
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    letters = last - first + 1
    if letters.max() > 7:  # 35 bits, more than any image has pixels
        return []
    shifts = 5 * (np.arange(len(codes)) - np.repeat(first, letters))
    runs = np.add.reduceat((codes & 31) << shifts, first) - ((codes[last] >> 4) << 5 * letters)
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs.tolist()
