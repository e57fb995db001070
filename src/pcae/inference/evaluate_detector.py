"""How good a trained detector is by COCO's measures on images with known objects, and how fast."""

from dataclasses import replace
from typing import Any

from pcae.data.coco.annotations import CocoImages, open_coco
from pcae.data.unreadable import BadFiles
from pcae.evaluation.coco_metrics import write_results
from pcae.inference.detection import Measured, measure
from pcae.inference.detector import find_used
from pcae.inference.trained import say_left_out
from pcae.settings.verbs.detect import DetectEvaluateConfig
from pcae.terminal import console
from pcae.training.distributed import World, open_world
from pcae.weights.detectors import DetectorFacts, fill_detector
from pcae.writing import check_writable


def evaluate_detector(config: DetectEvaluateConfig) -> dict[str, Any]:
    """Evaluate, and write the predictions where asked; the figures as JSON has them. Every process calls it.

    Raises ValueError for what cannot be, and when too many images cannot be read.
    """
    if config.predictions is not None:
        check_writable(config.predictions, ".json")
    with open_world(config.model.device) as world:
        used = world.main_first(lambda: find_used(config.model, world.is_main))
        detection = fill_detector(used, world.device)
        data = world.main_first(lambda: open_labelled_as(config, used.facts))
        bad_files = BadFiles(data.images, config.model.max_bad_files)
        measured = measure(detection, data, bad_files, world, config.model.workers)
        if world.is_main:
            for note in data.notes:
                console.print(f"note: {note}")
            if config.predictions is not None:
                write_results(config.predictions, measured.results)
                console.print(f"{len(measured.results)} predictions in {config.predictions}")
            say_left_out(bad_files)
        return figures(config, used.facts, data, measured, world)


def open_labelled_as(config: DetectEvaluateConfig, facts: DetectorFacts) -> CocoImages:
    """The images with their objects, labelled as the detector labels them."""
    channels = facts.encoder.channels or 3
    data = open_coco(config.data, config.split, config.images, channels, config.max_bad_annotations)
    data = data.labelled_as(facts.classes)
    return replace(data, images=replace(data.images, pixel_range=facts.pixel_range))


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
