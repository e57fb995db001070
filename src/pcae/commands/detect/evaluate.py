"""`pcae detect evaluate`: COCO's average precision of a detector's boxes and masks, and its speed."""

from typing import Any

from pcae.data.coco.annotations import CocoImages
from pcae.data.unreadable import BadFiles
from pcae.evaluation.coco_metrics import write_results
from pcae.inference.detection import Measured, by_category, measure, open_labelled_as, rows_of
from pcae.inference.detector import find_used
from pcae.settings.verbs.detect import DetectEvaluateConfig
from pcae.terminal import as_json, console, table
from pcae.training.distributed import World, open_world
from pcae.weights.detectors import DetectorFacts, fill_detector
from pcae.writing import check_writable


def run(config: DetectEvaluateConfig) -> None:
    """Evaluate and print."""
    check(config)
    with open_world(config.model.device) as world:
        found = world.main_first(lambda: find_used(config.model, world.is_main))
        detection = fill_detector(found, world.device)
        data = world.main_first(lambda: open_labelled_as(config, found.facts))
        bad_files = BadFiles(data.images, config.model.max_bad_files)
        measured = measure(detection, data, bad_files, world, config.model.workers)
        if world.is_main:
            report(config, found.facts, data, measured, world)
            if bad_files.found:
                console.print(f"{bad_files.describe()}; they were left out")


def check(config: DetectEvaluateConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if config.predictions is not None:
        check_writable(config.predictions, ".json")


def report(
    config: DetectEvaluateConfig, facts: DetectorFacts, data: CocoImages, measured: Measured, world: World
) -> None:
    """Write the predictions where asked, and print the figures."""
    for note in data.notes:
        console.print(f"note: {note}")
    if config.predictions is not None:
        write_results(config.predictions, measured.results)
        console.print(f"{len(measured.results)} predictions in {config.predictions}")
    if config.json:
        as_json(figures(config, facts, data, measured, world))
        return
    table("AP in percent", ["", "AP", "AP50", "AP75", "small", "medium", "large"], rows_of(measured))
    masks = ["mask AP"] if measured.mask is not None else []
    table("by category", ["category", "box AP", *masks], by_category(measured))
    speed = f"{measured.images_per_second:.3g} images/s in float32 on {world.size} x {world.device}"
    console.print(f"{measured.images} images, {measured.objects} objects; {speed}, without reading the images")


def figures(
    config: DetectEvaluateConfig, facts: DetectorFacts, data: CocoImages, measured: Measured, world: World
) -> dict[str, Any]:
    """All of it, for JSON; shares, not percent."""
    return {
        "weights": config.model.weights,
        "data": data.annotations,
        "model": facts.encoder.model,
        "images": measured.images,
        "objects": measured.objects,
        "drop_ratio": facts.detection.drop_ratio,
        "window": facts.detection.window,
        "shortest_side": facts.min_size,
        "longest_side": facts.max_size,
        "device": str(world.device),
        "processes": world.size,
        "images_per_second": measured.images_per_second,
        "box": measured.box.as_dict(),
        "mask": measured.mask.as_dict() if measured.mask else None,
    }
