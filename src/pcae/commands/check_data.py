"""`pcae check-data`: what a folder of images holds, before a run meets it."""

from collections.abc import Sequence
from typing import Any

from pcae.data.packed.folder import verify
from pcae.evaluation.check_data import check, listed, look_at, open_splits, suggest
from pcae.evaluation.dataset_report import Everything, Fault, describe, find_faults, gather, remark
from pcae.pages.dataset_page import write_page
from pcae.settings.text import visible
from pcae.settings.verbs.check_data import CheckDataConfig
from pcae.terminal import as_json, bar, console, table
from pcae.training.distributed import pick_device

SHOWN = 5
"""Groups of each fault on the terminal; all of them stand in --json, and more in --out."""


def run(config: CheckDataConfig) -> None:
    """Look, compare and print."""
    check(config)
    verify(config.data, bar("checksums"))
    device = pick_device(config.device)
    splits = open_splits(config)
    images = gather(splits, {name: look_at(name, split, config.workers) for name, split in splits.items()})
    faults = find_faults(images, config.alike, device)
    report = {
        "data": config.data,
        **describe(images),
        "faults": {fault.name: listed(fault, images) for fault in faults},
        "remarks": remark(images, device),
        "suggestion": suggest(config, splits["train"], device),
    }
    if config.out:
        write_page(config.out, report, faults, images)
    if config.json:
        as_json(report)
    else:
        show(report, faults, images)
    if config.out:
        console.print(f"with thumbnails: {config.out}")


def show(report: dict[str, Any], faults: list[Fault], images: Everything) -> None:
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
    for fault in faults:
        show_fault(fault, images)
    if not faults:
        print("no image is unreadable, blank or there twice")
    for line in report["remarks"]:
        print(visible(line))
    advice = report["suggestion"]
    size = "x".join(map(str, advice["image_size"]))
    print(f"suggested: recipe {advice['recipe']}, {advice['model']} at {size} ({advice['reason']})")
    if advice["enlarged"]:
        print("  most images are smaller than that and would be enlarged")
    print(f"  {advice['command']}")


def show_fault(fault: Fault, images: Everything) -> None:
    """How many, what to do, and the first groups."""
    print(f"\n{fault.count} {fault.what}: {fault.remedy}")
    for group in fault.groups[:SHOWN]:
        reason = fault.reasons.get(group[0])
        names = ", ".join(repr(images.names[place]) for place in group[:SHOWN])
        more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        print(f"  {names}{more}" + (f" ({visible(reason)})" if reason else ""))
    if len(fault.groups) > SHOWN:
        print(f"  and {len(fault.groups) - SHOWN} more; see --json or --out PAGE.html")


def spaced(values: Sequence[float]) -> str:
    """Numbers as --mean and --std take them."""
    return " ".join(f"{value:.4f}" for value in values)
