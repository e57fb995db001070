"""`pcae check-data`: what a folder of images holds, before a run meets it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from tyro.conf import Positional, arg

from pcae.commands.advice import advise, typical_side
from pcae.commands.findings import Everything, Fault, describe, find_faults, gather, remark
from pcae.commands.page import write_page
from pcae.commands.pretrain import Config as Run
from pcae.commands.terminal import as_json, bar, console, table
from pcae.data.batches import check_workers
from pcae.data.images import Images, open_images
from pcae.data.names import visible
from pcae.data.packed import verify
from pcae.data.survey import Facts, survey
from pcae.settings import read_recipe
from pcae.training.checkpoint import check_writable
from pcae.training.distributed import pick_device

SHOWN = 5
"""Groups of each fault on the terminal; all of them stand in --json, and more in --out."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Look at every image, in parallel: unreadable files, duplicates, sizes, colours, labels, and a recipe.

    Where DATA has train and val (or validation, test) folders, both are read and held against one another.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Folder, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`."""
    validation: str | None = None
    """Other data to hold against DATA: images that stand in both leak."""
    out: Path | None = None
    """A page to write, .html, with thumbnails."""
    channels: int | None = None
    """Channels that a run would read; without it, 1 for `sample` and `fashion-mnist`, 3 for image files."""
    pixel_range: tuple[float, float] | None = None
    """Values of 16-bit and float pixels that become black and white; without it 0 65535 and 0 1."""
    alike: float = 0.985
    """Correlation of small gray copies from which on two images are near duplicates, in (0, 1]."""
    workers: int | None = None
    """Processes that read images; without it, as many as there are cores."""
    device: str = "auto"
    """Where images are compared and what the recipe is for; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print everything as JSON."""


def run(config: Config) -> None:
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


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    if not 0 < config.alike <= 1:
        raise ValueError(f"alike must lie in (0, 1], got {config.alike:g}")
    check_workers(config.workers)
    if config.out is not None:
        check_writable(config.out, ".html")


def open_splits(config: Config) -> dict[str, Images]:
    """The training images and, where there are any, those to hold against them, of the same channels."""
    train = open_images(config.data, "train", config.channels, config.pixel_range)
    other = open_images(config.validation or config.data, "test", train.channels, config.pixel_range)
    if config.validation is None and list(other.names) == list(train.names):
        return {"train": train}
    return {"train": train, "validation": other}


def look_at(name: str, images: Images, workers: int | None) -> Sequence[Facts]:
    """The facts of all images, with a bar on a terminal."""
    return [facts for some in bar(f"reading {name}")(survey(images, workers)) for facts in some]


def listed(fault: Fault, images: Everything) -> dict[str, Any]:
    """A fault as JSON has it."""
    named = [
        [
            {"file": images.names[place], "split": images.split[place]}
            | ({"reason": fault.reasons[place]} if place in fault.reasons else {})
            for place in group
        ]
        for group in fault.groups
    ]
    return {"what": fault.what, "remedy": fault.remedy, "groups": named}


def suggest(config: Config, train: Images, device: torch.device) -> dict[str, Any]:
    """The recipe for these images, as --recipe auto would pick it, with its model, its size and the command."""
    side = typical_side(train)
    advice = advise(config.data, len(train), side, device)
    recipe = read_recipe(Run, advice.recipe)
    size = list(recipe.get("image_size", (224, 224)))
    words = ["pcae", "pretrain", config.data, "--recipe", advice.recipe, "--out", f"runs/{advice.recipe}"]
    words += ["--channels", str(config.channels)] if config.channels else []
    words += ["--pixel-range", *(f"{value:g}" for value in config.pixel_range)] if config.pixel_range else []
    return {
        "recipe": advice.recipe,
        "model": recipe["model"],
        "image_size": size,
        "reason": advice.reason,
        "enlarged": side < min(size),
        "command": shlex.join(words),
    }


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
