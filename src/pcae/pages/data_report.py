"""What check-data found, in words: tables of what is there, and a few lines for each thing that is wrong."""

from collections.abc import Sequence
from typing import Any

from pcae.results import Block, Record, Table
from pcae.settings.text import visible

SHOWN = 5
"""Groups of each fault on the terminal; all of them stand in --json, and more in --out."""


class DataReport(Record):
    """What images hold: counts, formats, sides, labels, faults, remarks, and a suggestion."""

    def blocks(self) -> list[Block]:
        """Tables of what is there, and a few lines for each thing that is wrong."""
        formats = [[f"format {name}", str(count)] for name, count in self["formats"].items()]
        pixels = [[f"pixels {name}", str(count)] for name, count in self["pixels"].items()]
        sides = [[name, *(str(value) for value in side.values())] for name, side in self["sides"].items()]
        total = " + ".join(f"{count} {name}" for name, count in self["images"].items())
        return [
            f"{self['data']}: {total} images, {self['megabytes']:.4g} MB",
            Table("", ["", "images"], formats + pixels),
            Table("", ["in pixels", "least", "median", "most"], sides),
            *(about_classes(name, classes) for name, classes in self["labels"].items()),
            f"mean {spaced(self['mean'])}   std {spaced(self['std'])}   (of pixels in [0, 1], by channel)",
            f"near duplicates: by {visible(self['compared_by'])}, from {self['alike']:g} on",
            *(line for fault in self["faults"].values() for line in about_fault(fault)),
            *([] if self["faults"] else ["no image is unreadable, blank or there twice"]),
            *self["remarks"],
            *about_suggestion(self["suggestion"]),
        ]

    def records(self) -> list[dict[str, Any]]:
        """A row for each image of each fault: its group, file and split, and where there is one the reason."""
        return [
            {"fault": name, "group": place, **image}
            for name, fault in self["faults"].items()
            for place, group in enumerate(fault["groups"])
            for image in group
        ]


def about_classes(name: str, classes: dict[str, int]) -> str:
    """How many classes a split has, and the largest and the smallest."""
    (most, large), (least, small) = (list(classes.items())[place] for place in (0, -1))
    return f"{name}: {len(classes)} classes of {small} ({visible(least)}) to {large} ({visible(most)}) images"


def about_fault(fault: dict[str, Any]) -> list[str]:
    """How many, what to do, and the first groups."""
    groups = fault["groups"]
    lines = [f"\n{sum(map(len, groups))} {fault['what']}: {fault['remedy']}"]
    for group in groups[:SHOWN]:
        reason = group[0].get("reason")
        names = ", ".join(repr(one["file"]) for one in group[:SHOWN])
        more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        lines.append(f"  {names}{more}" + (f" ({visible(reason)})" if reason else ""))
    if len(groups) > SHOWN:
        lines.append(f"  and {len(groups) - SHOWN} more; see --json or --out PAGE.html")
    return lines


def about_suggestion(advice: dict[str, Any]) -> list[str]:
    """The recipe, and the command that takes it."""
    size = "x".join(map(str, advice["image_size"]))
    enlarged = ["  most images are smaller than that and would be enlarged"] * advice["enlarged"]
    said = f"suggested: recipe {advice['recipe']}, {advice['model']} at {size} ({advice['reason']})"
    return [said, *enlarged, f"  {advice['command']}"]


def spaced(values: Sequence[float]) -> str:
    """Numbers as --mean and --std take them."""
    return " ".join(f"{value:.4f}" for value in values)
