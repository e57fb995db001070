"""`pcae detect evaluate`: COCO's average precision of a detector's boxes and masks, and its speed."""

from pcae.inference.evaluate_detector import DetectorFigures, evaluate_detector
from pcae.results import print_result
from pcae.terminal import command, console


def show(found: DetectorFigures) -> None:
    """Print the figures and, beside them, the speed."""
    print_result(found)
    console.print(found.speed())


run = command(evaluate_detector, show)
"""Evaluate and print."""
