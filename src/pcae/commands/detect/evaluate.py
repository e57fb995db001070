"""`pcae detect evaluate`: COCO's average precision of a detector's boxes and masks, and its speed."""

from typing import Any

from pcae.inference.evaluate_detector import evaluate_detector
from pcae.settings.verbs.detect import DetectEvaluateConfig
from pcae.terminal import answer, console, table

TITLES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "small": "small", "medium": "medium", "large": "large"}


def run(config: DetectEvaluateConfig) -> None:
    """Evaluate and print."""
    answer(evaluate_detector(config), config.json, show)


def show(found: dict[str, Any]) -> None:
    """Print the figures, in percent, of all objects and by category."""
    kinds = {kind: found[kind] for kind in ("box", "mask") if found[kind]}
    rows = [[kind, *(percent(scores[name]) for name in TITLES)] for kind, scores in kinds.items()]
    table("AP in percent", ["", *TITLES.values()], rows)
    rows = [
        [name, *(percent(scores["by_category"][name]) for scores in kinds.values())]
        for name in found["box"]["by_category"]
    ]
    table("by category", ["category", *(f"{kind} AP" for kind in kinds)], rows)
    speed = f"{found['images_per_second']:.3g} images/s in float32 on {found['processes']} x {found['device']}"
    console.print(f"{found['images']} images, {found['objects']} objects; {speed}, without reading the images")


def percent(value: float | None) -> str:
    """A figure of COCO's as it is usually printed."""
    return "-" if value is None else f"{100 * value:.1f}"
