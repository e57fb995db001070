"""`pcae detect predict`: the objects in any images, as COCO's results and drawn on the pictures."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from pcae.commands.detect_measure import Found, find_objects, pixels_of
from pcae.commands.detect_trained import UsedConfig, find_used
from pcae.commands.terminal import as_json, console
from pcae.data.batches import check_max_bad_files, check_workers
from pcae.data.images import Images, open_images
from pcae.data.listing import Split
from pcae.data.unreadable import BadFiles
from pcae.evaluation.coco_metrics import Result, to_results, write_results
from pcae.evaluation.detection_pictures import draw_objects
from pcae.training.checkpoint import replace_text
from pcae.training.distributed import World, pick_device
from pcae.training.folder import check_place
from pcae.weights.detectors import DetectorFacts, fill_detector

RESULTS = "results.json"
"""COCO's results, a line for each object."""
LISTED = "images.json"
"""Images and categories by the ids that the results have, as COCO lists them."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Find objects in images: OUT gets results.json as COCO has it, images.json with the images' and the categories'
    ids, and every picture with boxes, labels and masks drawn.

    Images that cannot be read are named at the end.
    """

    data: Annotated[str, Positional, arg(metavar="IMAGES")]
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: UsedConfig
    out: Path
    """Folder to write to."""
    threshold: float = 0.5
    """Least score of objects that are written and drawn, in [0, 1)."""
    split: Split = "test"
    """Which split, where the data has splits; test is also the val folder."""
    pictures: bool = True
    """Draw the pictures, too."""
    json: bool = False
    """Print what was found as JSON."""


def run(config: Config) -> None:
    """Find, write and draw."""
    check(config)
    here = World(0, 1, pick_device(config.model.device))
    found = find_used(config.model, True, config.threshold)
    detection, facts = fill_detector(found, here.device), found.facts
    images = open_images(config.data, config.split, facts.encoder.channels, facts.pixel_range)
    bad_files = BadFiles(images, config.model.max_bad_files)
    ids = list(range(1, len(images) + 1))
    open = partial(pixels_of, images)
    rows, results = [], []
    for one in find_objects(detection, open, ids, bad_files, here, config.model.workers):
        rows.append(written(config, one, images, facts))
        results += to_results(one.objects, facts.category_ids)
    write(config, facts, rows, results)
    report(config, bad_files, rows, results)


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_max_bad_files(config.model.max_bad_files)
    check_workers(config.model.workers)
    check_place(config.out, config.data)
    if not 0 <= config.threshold < 1:
        raise ValueError(f"threshold must lie in [0, 1), got {config.threshold:g}")


def written(config: Config, found: Found, images: Images, facts: DetectorFacts) -> dict[str, Any]:
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


def write(config: Config, facts: DetectorFacts, rows: list[dict[str, Any]], results: list[Result]) -> None:
    """Write what was found, and what the ids in it stand for."""
    config.out.mkdir(parents=True, exist_ok=True)
    named = zip(facts.category_ids, facts.classes, strict=True)
    categories = [{"id": id, "name": name} for id, name in named]
    write_results(config.out / RESULTS, results)
    replace_text(config.out / LISTED, json.dumps({"images": rows, "categories": categories}, indent=2))


def report(config: Config, bad_files: BadFiles, rows: list[dict[str, Any]], results: list[Result]) -> None:
    """Say what was found, and which images could not be read."""
    if config.json:
        as_json({"out": str(config.out), "images": rows, "results": results, "bad_files": bad_files.by_name()})
    else:
        console.print(
            f"{len(results)} objects in {len(rows)} images; {config.out} has {RESULTS}, {LISTED}"
            + (" and pictures" if config.pictures else "")
        )
    if bad_files.found:
        console.print(bad_files.describe())
