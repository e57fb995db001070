"""How good a trained detector is by COCO's measures on images with known objects, and how fast."""

from dataclasses import asdict, replace
from typing import Any

from pcae.data.coco.annotations import CocoImages, open_coco
from pcae.data.unreadable import BadFiles
from pcae.evaluation.coco_metrics import write_results
from pcae.inference.detection import Measured, measure
from pcae.inference.detector import find_used
from pcae.inference.trained import say_left_out
from pcae.results import Block, Record, Table
from pcae.settings.reading import AnnotationConfig
from pcae.settings.verbs.detect import DetectEvaluateConfig
from pcae.terminal import console
from pcae.training.distributed import World, open_world
from pcae.weights.detectors import DetectorFacts, fill_detector
from pcae.writing import check_writable

TITLES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "small": "small", "medium": "medium", "large": "large"}


class DetectorFigures(Record):
    """COCO's figures of a detector, as shares: `box`, `mask` (None of one for boxes alone), and its speed."""

    def blocks(self) -> list[Block]:
        """The figures, in percent, of all objects and by category."""
        kinds = {kind: self[kind] for kind in ("box", "mask") if self[kind]}
        rows = [[kind, *(percent(scores[name]) for name in TITLES)] for kind, scores in kinds.items()]
        categories = [
            [name, *(percent(scores["by_category"][name]) for scores in kinds.values())]
            for name in self["box"]["by_category"]
        ]
        return [
            Table("AP in percent", ["", *TITLES.values()], rows),
            Table("by category", ["category", *(f"{kind} AP" for kind in kinds)], categories),
        ]

    def speed(self) -> str:
        """How many images and objects there were, and how fast it was."""
        speed = f"{self['images_per_second']:.3g} images/s in float32 on {self['processes']} x {self['device']}"
        return f"{self['images']} images, {self['objects']} objects; {speed}, without reading the images"

    def records(self) -> list[dict[str, Any]]:
        """A row for boxes and one for masks, and for each of their categories one."""
        kinds = {kind: self[kind] for kind in ("box", "mask") if self[kind]}
        whole = [{"kind": kind, **{name: scores[name] for name in TITLES}} for kind, scores in kinds.items()]
        return whole + [
            {"kind": kind, "category": name, "ap": value}
            for kind, scores in kinds.items()
            for name, value in scores["by_category"].items()
        ]


def percent(value: float | None) -> str:
    """A figure of COCO's as it is usually printed."""
    return "-" if value is None else f"{100 * value:.1f}"


def evaluate_detector(config: DetectEvaluateConfig) -> DetectorFigures:
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
    reading = config.annotations if facts.masks else boxes_alone(config.annotations)
    data = open_coco(config.data, config.split, config.images, channels, reading)
    data = data.labelled_as(facts.classes)
    return replace(data, images=replace(data.images, pixel_range=facts.pixel_range, bands=facts.bands))


def boxes_alone(annotations: AnnotationConfig) -> AnnotationConfig:
    """How annotations are read for a detector that finds boxes alone. Raises ValueError where masks are asked for."""
    if annotations.masks == "always":
        raise ValueError("masks always is for a detector with masks, and this one finds boxes alone; leave it out")
    return replace(annotations, masks="never")


def figures(
    config: DetectEvaluateConfig, facts: DetectorFacts, data: CocoImages, measured: Measured, world: World
) -> DetectorFigures:
    """All of it, for JSON; shares, not percent."""
    return DetectorFigures(
        weights=config.model.weights,
        data=data.annotations,
        model=facts.encoder.model,
        images=measured.images,
        objects=measured.objects,
        drop_ratio=facts.detection.drop_ratio,
        window=facts.detection.window,
        shortest_side=facts.min_size,
        longest_side=facts.max_size,
        device=str(world.device),
        processes=world.size,
        images_per_second=measured.images_per_second,
        box=asdict(measured.box),
        mask=asdict(measured.mask) if measured.mask else None,
    )
