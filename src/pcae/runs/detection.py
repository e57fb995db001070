"""Training a detector to the end: a pre-trained encoder finds and cuts out objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcae.data.coco.annotations import open_coco
from pcae.evaluation.recipe_choice import say_recipe
from pcae.pages.run_page import report_on
from pcae.results import RunSummary
from pcae.runs.detection_task import build_task
from pcae.runs.dry_run import forecast
from pcae.runs.roll_back import with_roll_backs
from pcae.settings.recipes import configure
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.training.callbacks import Callback
from pcae.training.distributed import World, open_world

MANY_IMAGES = 10_000
"""Training images from which on the recipe for COCO's 118,000 is the nearer one."""


def train_detector(data: str | Path, out: str | Path, callbacks: Sequence[object] = (), **knobs: Any) -> RunSummary:
    """Train a detector on `data` into the run folder `out`, as `pcae detect train` does; returns the run's summary.

    callbacks: objects with methods of `pcae.Callback`, which hear of the run.
    knobs: the command's flags with underscores. Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(DetectTrainConfig, "detect.train", choose_recipe, data=str(data), out=str(out), **knobs)
    return train_and_report(config, callbacks)


def choose_recipe(config: DetectTrainConfig) -> str:
    """What `--recipe auto` stands for, by the number of images; says which, and why."""
    images = len(open_coco(config.data, images=config.images, config=config.annotations))
    recipe = "detect-small" if images < MANY_IMAGES else "detect-coco-vit-b"
    say_recipe(recipe, f"{images} images")
    return recipe


def train_and_report(config: DetectTrainConfig, callbacks: Sequence[object] = ()) -> RunSummary:
    """Train, and write the page about it; returns the summary of the run, or its forecast. Every process calls it.

    callbacks: objects with methods of pcae.Callback.
    """
    with open_world(config.run.device) as world:
        summary = with_roll_backs(attempt, config, world, callbacks)
        if world.is_main and not config.dry_run:
            report_on(config.out)
        return summary


def attempt(config: DetectTrainConfig, world: World, callbacks: Sequence[Callback]) -> RunSummary:
    """Train to the end, or until the run has to go back; or forecast it."""
    task = build_task(config, world)
    return forecast(task, task.peak) if config.dry_run else task.complete(callbacks)
