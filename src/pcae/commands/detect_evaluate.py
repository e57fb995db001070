"""`pcae detect evaluate`: COCO's average precision of a detector's boxes and masks, and its speed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from pcae.commands.detect_measure import Measured, by_category, measure, rows_of
from pcae.commands.detect_trained import UsedConfig, find_used
from pcae.commands.terminal import as_json, console, table
from pcae.data.batches import check_max_bad_files, check_workers
from pcae.data.coco import MAX_BAD_ANNOTATIONS, CocoImages, check_max_bad_annotations, open_coco
from pcae.data.listing import Split
from pcae.data.unreadable import BadFiles
from pcae.evaluation.coco_metrics import write_results
from pcae.training.checkpoint import check_writable
from pcae.training.distributed import World, world
from pcae.weights.detectors import DetectorFacts, fill_detector


@dataclass(frozen=True, kw_only=True)
class Config:
    """Say how good a detector is by COCO's measures, and how fast.

    DATA is in COCO's format, as for `pcae detect train`. Tokens can be dropped, and windows be chosen, without any
    training for it.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Folder of COCO-format data, or a .json file of annotations."""
    model: UsedConfig
    images: str | None = None
    """Folder of the images, where it is not found beside the annotations."""
    split: Split = "test"
    """Which part of a folder; test is also its val part."""
    max_bad_annotations: float = MAX_BAD_ANNOTATIONS
    """Share of the annotations that may be wrong in themselves, such as boxes of no area; they are left out."""
    predictions: Path | None = None
    """The .json file that all predictions are written to, as COCO's results."""
    json: bool = False
    """Print as JSON."""


def run(config: Config) -> None:
    """Evaluate and print."""
    check(config)
    with world(config.model.device) as here:
        found = here.main_first(lambda: find_used(config.model, here.is_main))
        detection = fill_detector(found, here.device)
        data = here.main_first(lambda: open_labelled_as(config, found.facts))
        bad_files = BadFiles(data.images, config.model.max_bad_files)
        measured = measure(detection, data, bad_files, here, config.model.workers)
        if here.is_main:
            report(config, found.facts, data, measured, here)
            if bad_files.found:
                console.print(f"{bad_files.describe()}; they were left out")


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_max_bad_files(config.model.max_bad_files)
    check_workers(config.model.workers)
    check_max_bad_annotations(config.max_bad_annotations)
    if config.predictions is not None:
        check_writable(config.predictions, ".json")


def open_labelled_as(config: Config, facts: DetectorFacts) -> CocoImages:
    """The images with their objects, labelled as the detector labels them."""
    channels = facts.encoder.channels or 3
    data = open_coco(config.data, config.split, config.images, channels, config.max_bad_annotations)
    data = data.labelled_as(facts.classes)
    return replace(data, images=replace(data.images, pixel_range=facts.pixel_range))


def report(config: Config, facts: DetectorFacts, data: CocoImages, measured: Measured, here: World) -> None:
    """Write the predictions where asked, and print the figures."""
    for note in data.notes:
        console.print(f"note: {note}")
    if config.predictions is not None:
        write_results(config.predictions, measured.results)
        console.print(f"{len(measured.results)} predictions in {config.predictions}")
    if config.json:
        as_json(figures(config, facts, data, measured, here))
        return
    table("AP in percent", ["", "AP", "AP50", "AP75", "small", "medium", "large"], rows_of(measured))
    masks = ["mask AP"] if measured.mask is not None else []
    table("by category", ["category", "box AP", *masks], by_category(measured))
    speed = f"{measured.images_per_second:.3g} images/s in float32 on {here.size} x {here.device}"
    console.print(f"{measured.images} images, {measured.objects} objects; {speed}, without reading the images")


def figures(config: Config, facts: DetectorFacts, data: CocoImages, measured: Measured, here: World) -> dict[str, Any]:
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
        "device": str(here.device),
        "processes": here.size,
        "images_per_second": measured.images_per_second,
        "box": measured.box.as_dict(),
        "mask": measured.mask.as_dict() if measured.mask else None,
    }
