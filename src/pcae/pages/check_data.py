"""What a folder of images holds, before a run meets it: its faults, a recipe for it, and a page of all that."""

import shlex
from typing import Any

import torch

from pcae.data.images import Images, open_images, with_held_out
from pcae.data.packed.reading import verify
from pcae.data.survey import Facts, survey
from pcae.evaluation.dataset_report import Everything, Fault, describe, find_faults, find_near, gather, remark
from pcae.evaluation.features import check_fit
from pcae.evaluation.recipe_choice import recipe_for, typical_side
from pcae.model.pretrained import Pretrained
from pcae.pages.data_report import DataReport
from pcae.pages.dataset_page import write_page
from pcae.pages.looked_parts import look_in_parts
from pcae.settings.recipes import read_recipe
from pcae.settings.sources import each, given_in, has_splits, in_words
from pcae.settings.verbs.check_data import CheckDataConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.sharing.part_folder import check_folder
from pcae.terminal import bar, console, is_main_process
from pcae.training.distributed import World, open_world
from pcae.weights.files import load
from pcae.writing import check_writable

ALIKE, ALIKE_BY_FEATURES = 0.985, 0.85
"""From which correlation on images are near duplicates: of small gray copies, and, where features propose which images
are held against each other, of details."""


def check_data(config: CheckDataConfig) -> DataReport:
    """Look at all images and compare them, as JSON has it; the page is written where that is asked for.

    Processes share the images, and every one of them calls it. Raises ValueError for what cannot be, and for a packed
    folder that is damaged.
    """
    if config.out is not None:
        check_writable(config.out, ".html")
    if config.parts is not None:
        check_folder(config.parts, config.data)
    with open_world(config.device) as world:
        splits = world.main_first(lambda: opened(config))
        model = world.main_first(lambda: comparing(config, splits, world.device))
        looks = {name: look_at(name, split, config, world) for name, split in splits.items()}
        return world.from_main(lambda: report(config, splits, looks, model, world.device))


def opened(config: CheckDataConfig) -> dict[str, Images]:
    """The images; packed ones whole by their checksums."""
    for source in each(config.data) if is_main_process() else ():
        verify(source, bar("checksums"))
    return open_splits(config)


def comparing(config: CheckDataConfig, splits: dict[str, Images], device: torch.device) -> Pretrained | None:
    """The model that compares the images, where one is asked for. Raises ValueError where it takes other ones."""
    if config.by is None:
        return None
    model = load(config.by, device)
    for images in splits.values():
        check_fit(model.facts, images)
    return model


def report(
    config: CheckDataConfig,
    splits: dict[str, Images],
    looks: dict[str, list[Facts]],
    model: Pretrained | None,
    device: torch.device,
) -> DataReport:
    """What single images are, put together; and the page."""
    images = gather(splits, looks)
    alike = config.alike or (ALIKE if model is None else ALIKE_BY_FEATURES)
    faults = find_faults(images, find_near(images, model, alike, device, config.workers or 0), config.by)
    found = DataReport(
        data=in_words(config.data),
        **describe(images),
        compared_by=config.by or "small gray copies",
        alike=alike,
        faults={fault.name: listed(fault, images) for fault in faults},
        remarks=remark(images, device),
        suggestion=suggest(config, splits["train"], device),
    )
    if config.out is not None:
        write_page(config.out, found, faults, images)
        console.print(f"with thumbnails: {config.out}")
    return found


def open_splits(config: CheckDataConfig) -> dict[str, Images]:
    """The training images and, where there are any, those to hold against them, of the same channels."""
    channels, pixel_range, bands = config.channels, config.pixel_range, config.bands
    train = open_images(config.data, "train", channels, pixel_range, bands=bands, labels=True)
    held_out = config.validation or with_held_out(config.data)
    if config.validation is None and not has_splits(config.data):
        return {"train": train}
    other = open_images(held_out, "test", train.channels, pixel_range, bands=bands, labels=True)
    if config.validation is None and list(other.names) == list(train.names):
        return {"train": train}
    return {"train": train, "validation": other}


def look_at(name: str, images: Images, config: CheckDataConfig, world: World) -> list[Facts]:
    """The facts of all images in the main process, which shows a bar on a terminal; each looks at images in a row."""
    if config.parts is not None:
        return look_in_parts(name, images, config.parts, config.workers, world)
    mine = range(len(images) * world.rank // world.size, len(images) * (world.rank + 1) // world.size)
    follow = bar(f"reading {name}") if world.is_main else iter
    looks = [facts for some in follow(survey(images, config.workers, mine)) for facts in some]
    return [facts for share in world.collect(looks) or [] for facts in share]


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


def suggest(config: CheckDataConfig, train: Images, device: torch.device) -> dict[str, Any]:
    """The recipe for these images, as --recipe auto would pick it, with its model, its size and the command."""
    side = typical_side(train)
    choice = recipe_for(config.data, len(train), side, device)
    recipe = read_recipe(PretrainConfig, choice.recipe)
    size = list(recipe.get("image_size", (224, 224)))
    words = ["pcae", "pretrain", *each(config.data), "--recipe", choice.recipe, "--out", f"runs/{choice.recipe}"]
    words += ["--channels", str(config.channels)] if config.channels else []
    words += ["--bands", *map(str, config.bands)] if config.bands else []
    words += ["--pixel-range", *(f"{value:g}" for value in config.pixel_range)] if config.pixel_range else []
    return {
        "recipe": choice.recipe,
        "model": recipe["model"],
        "image_size": size,
        "reason": choice.reason,
        "enlarged": side < min(size),
        "command": shlex.join(words) if not given_in(config.data) else in_python(config, choice.recipe),
    }


def in_python(config: CheckDataConfig, recipe: str) -> str:
    """The suggested command as a call, for data that no command line can name."""
    more = "".join(f", {name}={value}" for name in ("channels", "bands") if (value := getattr(config, name)))
    return f'pcae.pretrain(data, "runs/{recipe}", recipe="{recipe}"{more})'
