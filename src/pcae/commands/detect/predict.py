"""`pcae detect predict`: the objects in any images, as COCO's results and drawn on the pictures."""

from functools import partial
from typing import Any

from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.coco_metrics import Result, to_results
from pcae.inference.detection import find_objects, pixels_of
from pcae.inference.detection_files import LISTED, RESULTS, write, written
from pcae.inference.detector import find_used
from pcae.settings.verbs.detect import DetectPredictConfig
from pcae.terminal import as_json, console
from pcae.training.distributed import World, pick_device
from pcae.weights.detectors import fill_detector
from pcae.writing import check_place


def run(config: DetectPredictConfig) -> None:
    """Find, write and draw."""
    check(config)
    world = World(0, 1, pick_device(config.model.device))
    found = find_used(config.model, True, config.threshold)
    detection, facts = fill_detector(found, world.device), found.facts
    images = open_images(config.data, config.split, facts.encoder.channels, facts.pixel_range)
    bad_files = BadFiles(images, config.model.max_bad_files)
    ids = list(range(1, len(images) + 1))
    open = partial(pixels_of, images)
    rows, results = [], []
    for one in find_objects(detection, open, ids, bad_files, world, config.model.workers):
        rows.append(written(config, one, images, facts))
        results += to_results(one.objects, facts.category_ids)
    write(config, facts, rows, results)
    report(config, bad_files, rows, results)


def check(config: DetectPredictConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_place(config.out, config.data)


def report(config: DetectPredictConfig, bad_files: BadFiles, rows: list[dict[str, Any]], results: list[Result]) -> None:
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
