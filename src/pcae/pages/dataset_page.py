"""One HTML page that stands alone: what check-data found, with thumbnails."""

from pathlib import Path
from typing import Any

from PIL import Image

from pcae.data.crops import picture_of
from pcae.data.files.decode import Unreadable, whole
from pcae.data.files.eight_bits import MODES
from pcae.data.opened import Images, spread
from pcae.evaluation.dataset_report import Everything, Fault
from pcae.pages.html import picture_address, write_html

THUMBNAIL = 96
"""Longest side of a thumbnail in pixels."""
GROUPS, MEMBERS, EXAMPLES = 30, 8, 24
"""Groups of each fault, images of each group and images picked from all, that the page shows."""


def write_page(path: Path, report: dict[str, Any], faults: list[Fault], images: Everything) -> None:
    """Write the page in one move."""
    picked = spread(len(images.facts), EXAMPLES)
    write_html(
        path,
        "check_data.html",
        report=report,
        faults=[section(images, fault) for fault in faults],
        examples=[card(images, place) for place in picked if images.facts[place].error is None],
    )


def section(images: Everything, fault: Fault) -> dict[str, Any]:
    """What the page shows of a fault."""
    return {
        "what": fault.what,
        "remedy": fault.remedy,
        "count": fault.count,
        "groups": [[card(images, place, fault) for place in group[:MEMBERS]] for group in fault.groups[:GROUPS]],
        "more": max(0, len(fault.groups) - GROUPS),
    }


def card(images: Everything, place: int, fault: Fault | None = None) -> dict[str, Any]:
    """What the page shows of one image."""
    facts, (split, index) = images.facts[place], images.locate(place)
    return {
        "name": split.short(index),
        "split": images.split[place] if len(images.splits) > 1 else None,
        "size": f"{facts.size[0]} x {facts.size[1]} {facts.format}" if facts.size[0] else facts.format,
        "reason": fault.reasons.get(place) if fault else None,
        "picture": thumbnail(split, index),
    }


def thumbnail(images: Images, index: int) -> str | None:
    """A small picture as a data address, as a run would read the image; None for one that cannot be read."""
    try:
        return picture_address(in_small(images, index, THUMBNAIL), "jpeg", quality=80)
    except Unreadable:
        return None


def in_small(images: Images, index: int, longest: int) -> Image.Image:
    """The whole image, as a run would read it, with at most so many pixels a side. Raises Unreadable."""
    pixels, _, _ = images.open_part(index, lambda size: whole(size)._replace(target=(longest, longest)))
    small = picture_of(pixels if images.channels in MODES else pixels[..., :1])
    small.thumbnail((longest, longest))
    return small
