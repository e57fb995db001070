"""`pcae detect predict`: the objects in any images, as COCO's results and drawn on the pictures."""

from pcae.inference.detect_objects import LISTED, RESULTS, Detected, detect_objects
from pcae.terminal import command, console


def show(found: Detected) -> None:
    """Say what was written."""
    pictures = " and pictures" if any("picture" in row for row in found.images) else ""
    objects = f"{len(found.results)} objects in {len(found.images)} images"
    console.print(f"{objects}; {found.out} has {RESULTS}, {LISTED}{pictures}")


run = command(detect_objects, show)
"""Find objects, and say what was written."""
