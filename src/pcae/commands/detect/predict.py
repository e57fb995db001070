"""`pcae detect predict`: the objects in any images, as COCO's results and drawn on the pictures."""

from pcae.inference.detect_objects import LISTED, RESULTS, Detected, detect_objects
from pcae.settings.verbs.detect import DetectPredictConfig
from pcae.terminal import answer, console


def run(config: DetectPredictConfig) -> None:
    """Find objects, and say what was written."""
    answer(detect_objects(config), config.json, show)


def show(found: Detected) -> None:
    """Say what was written."""
    pictures = " and pictures" if any("picture" in row for row in found.images) else ""
    objects = f"{len(found.results)} objects in {len(found.images)} images"
    console.print(f"{objects}; {found.out} has {RESULTS}, {LISTED}{pictures}")
