"""Which recipe fits images: by their number, their size and the device."""

from contextlib import suppress
from statistics import median
from typing import NamedTuple

import numpy as np
import torch

from pcae.data.images import RESERVED, Images
from pcae.data.survey import size_of
from pcae.settings.sources import Data
from pcae.terminal import console, is_main_process

UNKNOWN_SIDE = 224
"""Taken for the side of images that tell none."""


class RecipeChoice(NamedTuple):
    """A recipe that the package ships, and why."""

    recipe: str
    reason: str


def recipe_for(data: Data, images: int, side: int, device: torch.device) -> RecipeChoice:
    """The recipe for `images` images whose shorter side is about `side` pixels.

    Small images need small patches; a CPU trains ViT-Ti in minutes to hours; on a GPU, more images bear a larger model.
    """
    reason = f"{images} images, shorter side about {side} pixels, {device.type}"
    if isinstance(data, str) and data in RESERVED:
        return RecipeChoice(data, f"made for {data!r}")
    if side <= 48:
        return RecipeChoice("vit-ti-32", reason)
    if device.type == "cpu" or side <= 96:
        return RecipeChoice("vit-ti-64", reason)
    if images < 5_000 or side <= 160:
        return RecipeChoice("vit-s-128", reason)
    return RecipeChoice("vit-s-224" if images < 300_000 else "vit-b-224", reason)


def typical_side(images: Images, looks: int = 64) -> int:
    """Median of the shorter sides of some images spread over the data, in pixels, read off their headers."""
    if isinstance(images.items, np.ndarray):
        return min(images.items.shape[1:3])
    sides = []
    for place in images.some(looks):
        with suppress(Exception):  # a torn header tells nothing; the run will name the file
            source = images.source(place)
            sides.append(min(source.shape[:2] if isinstance(source, np.ndarray) else size_of(source)))
    return int(median(sides)) if sides else UNKNOWN_SIDE


def say_recipe(recipe: str, reason: str) -> None:
    """Say, once, what `--recipe auto` stands for."""
    if is_main_process():
        console.print(f"recipe auto: {recipe} ({reason})")
