"""The objects in any images, as COCO's results and drawn on the pictures."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pcae.data.images import Images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.coco_metrics import Result as CocoResult
from pcae.evaluation.coco_metrics import to_results, write_results
from pcae.inference.detection import Found, find_objects, pixels_of
from pcae.inference.detector import find_used
from pcae.inference.trained import images_for
from pcae.pictures.detection import draw_objects
from pcae.results import Block, Result, Table
from pcae.settings.verbs.detect import DetectPredictConfig
from pcae.terminal import console
from pcae.training.distributed import World, pick_device
from pcae.weights.detectors import DetectorFacts, fill_detector
from pcae.writing import check_place, replace_text

RESULTS = "results.json"
"""COCO's results, a line for each object."""
LISTED = "images.json"
"""Images and categories by the ids that the results have, as COCO lists them."""

SHOWN = 20
"""Images in the table of a result."""


@dataclass(frozen=True, repr=False)
class Detected(Result):
    """What was written to a folder: images as COCO lists them, with their pictures, and the objects in them."""

    out: Path
    images: list[dict[str, Any]]
    results: list[CocoResult]
    bad_files: dict[str, str]

    def blocks(self) -> list[Block]:
        """How many objects each of the first images has."""
        counts = Counter(one["image_id"] for one in self.results)
        rows = [[image["file_name"], str(counts[image["id"]])] for image in self.images[:SHOWN]]
        title = f"{len(self.results)} objects in {len(self.images)} images, in {self.out}"
        left = len(self.images) - SHOWN
        return [Table(title, ["image", "objects"], rows), *([f"and {left} more"] * (left > 0))]

    def records(self) -> list[dict[str, Any]]:
        """A row for each object: COCO's ids, box and score, and the image's name."""
        names = {image["id"]: image["file_name"] for image in self.images}
        return [{"file_name": names[one["image_id"]], **one} for one in self.results]


def detect_objects(config: DetectPredictConfig) -> Detected:
    """Find, write and draw. Raises ValueError for what cannot be, and when too many images cannot be read."""
    check_place(config.out, config.data)
    world = World(0, 1, pick_device(config.model.device))
    used = find_used(config.model, True, config.threshold)
    detection, facts = fill_detector(used, world.device), used.facts
    images = images_for(facts, config.data, config.split)
    bad_files, ids = BadFiles(images, config.model.max_bad_files), list(range(1, len(images) + 1))
    rows, results = [], []
    for found in find_objects(detection, partial(pixels_of, images), ids, bad_files, world, config.model.workers):
        rows.append(written(config, found, images, facts))
        results += to_results(found.objects, facts.category_ids)
    write(config.out, facts, rows, results)
    if bad_files.found:
        console.print(bad_files.describe())
    return Detected(config.out, rows, results, bad_files.by_name())


def written(config: DetectPredictConfig, found: Found, images: Images, facts: DetectorFacts) -> dict[str, Any]:
    """The image's line in the list; its picture is drawn where that is asked for."""
    id, name = found.objects.image_id, images.short(found.index)
    height, width = found.pixels.shape[1:]
    row = {"id": id, "file_name": name, "height": height, "width": width}
    if not config.pictures:
        return row
    config.out.mkdir(parents=True, exist_ok=True)
    picture = f"{id:06d}-{Path(name).stem}.png"
    draw_objects(found.pixels, found.objects, facts.classes).save(config.out / picture)
    return row | {"picture": picture}


def write(out: Path, facts: DetectorFacts, rows: list[dict[str, Any]], results: list[CocoResult]) -> None:
    """Write what was found, and what the ids in it stand for."""
    out.mkdir(parents=True, exist_ok=True)
    named = zip(facts.category_ids, facts.classes, strict=True)
    categories = [{"id": id, "name": name} for id, name in named]
    write_results(out / RESULTS, results)
    replace_text(out / LISTED, json.dumps({"images": rows, "categories": categories}, indent=2))
