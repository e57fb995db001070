"""TODO."""

import json
from pathlib import Path
from typing import Any

from pcae.data.images import Images
from pcae.evaluation.coco_metrics import Result, write_results
from pcae.inference.detection import Found
from pcae.pictures.detection import draw_objects
from pcae.settings.verbs.detect import DetectPredictConfig
from pcae.weights.detectors import DetectorFacts
from pcae.writing import replace_text

RESULTS = "results.json"
"""COCO's results, a line for each object."""
LISTED = "images.json"
"""Images and categories by the ids that the results have, as COCO lists them."""


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


def write(config: DetectPredictConfig, facts: DetectorFacts, rows: list[dict[str, Any]], results: list[Result]) -> None:
    """Write what was found, and what the ids in it stand for."""
    config.out.mkdir(parents=True, exist_ok=True)
    named = zip(facts.category_ids, facts.classes, strict=True)
    categories = [{"id": id, "name": name} for id, name in named]
    write_results(config.out / RESULTS, results)
    replace_text(config.out / LISTED, json.dumps({"images": rows, "categories": categories}, indent=2))
