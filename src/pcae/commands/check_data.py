"""`pcae check-data`: what a folder of images holds, before a run meets it."""

from collections.abc import Sequence
from typing import Any

from pcae.pages.check_data import check_data
from pcae.settings.text import visible
from pcae.settings.verbs.check_data import CheckDataConfig
from pcae.terminal import answer, table

SHOWN = 5
"""Groups of each fault on the terminal; all of them stand in --json, and more in --out."""


def run(config: CheckDataConfig) -> None:
    """Look, compare and print."""
    answer(check_data(config), config.json, show)


def show(report: dict[str, Any]) -> None:
    """Tables of what is there, and a few lines for each thing that is wrong."""
    total = " + ".join(f"{count} {name}" for name, count in report["images"].items())
    print(f"{report['data']}: {total} images, {report['megabytes']:.4g} MB")
    formats = [[f"format {name}", str(count)] for name, count in report["formats"].items()]
    table("", ["", "images"], formats + [[f"pixels {name}", str(count)] for name, count in report["pixels"].items()])
    sides = [[name, *(str(value) for value in side.values())] for name, side in report["sides"].items()]
    table("", ["in pixels", "least", "median", "most"], sides)
    for name, classes in report["labels"].items():
        (most, large), (least, small) = (list(classes.items())[place] for place in (0, -1))
        print(f"{name}: {len(classes)} classes of {small} ({visible(least)}) to {large} ({visible(most)}) images")
    print(f"mean {spaced(report['mean'])}   std {spaced(report['std'])}   (of pixels in [0, 1], by channel)")
    for fault in report["faults"].values():
        show_fault(fault)
    if not report["faults"]:
        print("no image is unreadable, blank or there twice")
    for line in report["remarks"]:
        print(visible(line))
    advice = report["suggestion"]
    size = "x".join(map(str, advice["image_size"]))
    print(f"suggested: recipe {advice['recipe']}, {advice['model']} at {size} ({advice['reason']})")
    if advice["enlarged"]:
        print("  most images are smaller than that and would be enlarged")
    print(f"  {advice['command']}")


def show_fault(fault: dict[str, Any]) -> None:
    """How many, what to do, and the first groups."""
    groups = fault["groups"]
    print(f"\n{sum(map(len, groups))} {fault['what']}: {fault['remedy']}")
    for group in groups[:SHOWN]:
        reason = group[0].get("reason")
        names = ", ".join(repr(one["file"]) for one in group[:SHOWN])
        more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        print(f"  {names}{more}" + (f" ({visible(reason)})" if reason else ""))
    if len(groups) > SHOWN:
        print(f"  and {len(groups) - SHOWN} more; see --json or --out PAGE.html")


def spaced(values: Sequence[float]) -> str:
    """Numbers as --mean and --std take them."""
    return " ".join(f"{value:.4f}" for value in values)
