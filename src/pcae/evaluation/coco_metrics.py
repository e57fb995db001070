"""Detections <-> COCO's results JSON, and COCO's average precision of them, by pycocotools."""

import io
import json
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from pcae.data.coco.annotations import CocoImages
from pcae.data.coco.checks import Id
from pcae.data.coco.segmentations import Rle, area, package, to_rle, to_rles
from pcae.writing import in_one_move

Kind = Literal["bbox", "segm"]
Result = dict[str, Any]
"""A detection as COCO writes it: image_id, category_id, score, bbox (left, top, width, height), segmentation (RLE)."""


class Detections(NamedTuple):
    """What was found in an image, in pixels of the image as it is in its file.

    boxes: left, top, right and bottom. labels: 1, 2, ... in the order of the data's classes. masks: pixels, or run
    lengths of them.
    """

    image_id: Id
    boxes: Float[Tensor, "objects 4"]
    labels: Int[Tensor, " objects"]
    scores: Float[Tensor, " objects"]
    masks: Bool[Tensor, "objects height width"] | UInt8[Tensor, "objects height width"] | list[Rle] | None = None


@dataclass(frozen=True)
class CocoScores:
    """COCO's average precision (AP) in [0, 1]; None where there is no object that counts.

    ap: mean over overlaps (IoU) of 0.5, 0.55, ... 0.95. ap50, ap75: at 0.5 and 0.75. small, medium, large: ap of
    objects below 32 x 32 pixels, from there to 96 x 96, above. by_category: ap by the category's name.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    by_category: dict[str, float | None]


def to_results(found: Detections, category_ids: Sequence[Id]) -> list[Result]:
    """The detections in an image as COCO writes them; category_ids: of the labels 1, 2, ..."""
    boxes, labels = found.boxes.double(), found.labels.tolist()
    columns = {
        "image_id": [found.image_id] * len(labels),
        "category_id": [category_ids[label - 1] for label in labels],
        "score": found.scores.tolist(),
        "bbox": torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist(),
    }
    if found.masks is not None:
        columns["segmentation"] = found.masks if isinstance(found.masks, list) else to_rles(found.masks.cpu())
    return rows_of(columns)


def rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The rows of a table with these columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write detections as COCO's results JSON, one a line."""
    with in_one_move(path) as beside:
        beside.write_text("[" + ",\n".join(map(json.dumps, results)) + "]\n", encoding="utf-8")


def score(data: CocoImages, results: Sequence[Result], kind: Kind) -> CocoScores:
    """How good detections are, by their boxes (`bbox`) or masks (`segm`), as pycocotools' COCOeval has it.

    Crowds count neither for nor against a detection. Masks are sorted into small, medium and large by their own pixels,
    not by their box. Raises ValueError for masks where the annotations have none.
    """
    package()
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        truth = as_coco(data, annotations_of(data, kind))
        evaluation: Any = COCOeval(truth, as_coco(data, detections_of(data, results, kind)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        return scores_of(evaluation, data)


def as_coco(data: CocoImages, annotations: list[dict[str, Any]]) -> Any:
    """pycocotools' object of these images and categories, with these annotations; it wants numbers for all of them."""
    from pycocotools.coco import COCO

    coco: Any = COCO()
    coco.dataset = {
        "images": [
            {"id": number, "height": height, "width": width}
            for number, (height, width) in enumerate(data.sizes.tolist(), 1)
        ],
        "categories": [{"id": label} for label in range(1, len(data.category_ids) + 1)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def annotations_of(data: CocoImages, kind: Kind) -> list[dict[str, Any]]:
    """The objects as pycocotools wants them, numbered from 1: what is numbered 0 never counts as found."""
    columns = {
        "id": list(range(1, len(data.labels) + 1)),
        "image_id": np.repeat(np.arange(1, len(data) + 1), np.diff(data.starts)).tolist(),
        "category_id": data.labels.tolist(),
        "bbox": data.boxes.tolist(),
        "area": data.areas.tolist(),
        "iscrowd": data.crowds.astype(int).tolist(),
    }
    if kind == "segm":
        columns["segmentation"] = [rle for index in range(len(data)) for rle in data.rles(index)]
    return rows_of(columns)


def detections_of(data: CocoImages, results: Sequence[Result], kind: Kind) -> list[dict[str, Any]]:
    """The detections as pycocotools wants them, with the area of what is compared."""
    numbers, labels = ({id: n for n, id in enumerate(ids, 1)} for ids in (data.ids, data.category_ids))
    if kind == "segm" and not all("segmentation" in one for one in results):
        raise ValueError("detections have boxes only, no masks; score them by bbox")
    if kind == "segm":
        masks = [to_rle(one["segmentation"], tuple(one["segmentation"]["size"])) for one in results]
        own = [{"segmentation": mask, "area": area(mask)} for mask in masks]
    else:
        own = [{"area": one["bbox"][2] * one["bbox"][3]} for one in results]
    rows = zip(results, own, strict=True)
    return [
        one
        | measured
        | {"id": id, "iscrowd": 0}
        | {"image_id": numbers[one["image_id"]], "category_id": labels[one["category_id"]]}
        for id, (one, measured) in enumerate(rows, 1)
    ]


def scores_of(evaluation: Any, data: CocoImages) -> CocoScores:
    """COCOeval's own figures, and the means of its precision at 101 values of recall by category; -1 is no object."""
    evaluation.summarize()
    figures = [None if figure < 0 else figure for figure in evaluation.stats[:6].tolist()]
    names = dict(enumerate(data.images.classes, 1))
    found = zip(evaluation.params.catIds, np.moveaxis(evaluation.eval["precision"][..., 0, -1], -1, 0), strict=True)
    return CocoScores(*figures, by_category={names[id]: mean(precision) for id, precision in found})


def mean(precision: np.ndarray) -> float | None:
    """The mean of what is there."""
    there = precision[precision > -1]
    return float(there.mean()) if there.size else None
