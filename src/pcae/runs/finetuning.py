"""Fine-tuning to the end: a pre-trained encoder becomes a classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcae.data.images import open_images
from pcae.evaluation.recipe_choice import say_recipe
from pcae.pages.run_page import report_on
from pcae.results import RunSummary
from pcae.runs.dry_run import forecast
from pcae.runs.finetuning_task import build_task
from pcae.runs.roll_back import with_roll_backs
from pcae.settings.recipes import configure
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.training.callbacks import Callback
from pcae.training.distributed import World, open_world

MANY_IMAGES = 200_000
"""From so many training images on, MAE's recipe for ImageNet suits."""


def finetune(
    data: str | Path | Sequence[str | Path], out: str | Path, callbacks: Sequence[object] = (), **knobs: Any
) -> RunSummary:
    """Fine-tune on `data` into the run folder `out`, as `pcae finetune` does; returns the summary of the run.

    callbacks: objects with methods of `pcae.Callback`, which hear of the run.
    knobs: the command's flags with underscores, such as weights="runs/photos", drop_ratio="0:0.4", epochs=50.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(FinetuneConfig, "finetune", choose_recipe, data=data, out=str(out), **knobs)
    return train_and_report(config, callbacks)


def choose_recipe(config: FinetuneConfig) -> str:
    """What `--recipe auto` stands for, by the number of images; says which, and why."""
    images = open_images(config.data, "train")
    recipe = "finetune-small" if len(images) < MANY_IMAGES else "finetune-imagenet-vit-b"
    say_recipe(recipe, f"{len(images)} images")
    return recipe


def train_and_report(config: FinetuneConfig, callbacks: Sequence[object] = ()) -> RunSummary:
    """Fine-tune, and write the page about it; returns the run's summary or forecast. Every process calls it."""
    with open_world(config.run.device) as world:
        summary = train(config, world, callbacks)
        if world.is_main and not config.dry_run:
            report_on(config.out)
        return summary


def train(config: FinetuneConfig, world: World, callbacks: Sequence[object] = ()) -> RunSummary:
    """Fine-tune as configured, from the start or from a checkpoint; returns the summary of the run, or its forecast."""
    return with_roll_backs(attempt, config, world, callbacks)


def attempt(config: FinetuneConfig, world: World, callbacks: Sequence[Callback]) -> RunSummary:
    """Fine-tune to the end, or until the run has to go back; or forecast it."""
    task = build_task(config, world)
    pairs = 2 if task.run.method.mixes else 1  # timm blends a batch with its mirror image
    return forecast(task, task.peak, pairs) if config.dry_run else task.complete(callbacks)
