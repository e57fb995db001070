"""Training a detector to the end: a pre-trained encoder finds and cuts out objects."""

from typing import Any

from pcae.data.coco.annotations import open_coco
from pcae.evaluation.recipe_choice import say_recipe
from pcae.pages.run_page import report_on
from pcae.runs.detection_task import build_task
from pcae.runs.dry_run import forecast
from pcae.runs.roll_back import with_roll_backs
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.training.distributed import World, open_world

MANY_IMAGES = 10_000
"""Training images from which on the recipe for COCO's 118,000 is the nearer one."""


def choose_recipe(config: DetectTrainConfig) -> str:
    """What `--recipe auto` stands for, by the number of images; says which, and why."""
    images = len(open_coco(config.data, images=config.images, max_bad_annotations=config.max_bad_annotations))
    recipe = "detect-small" if images < MANY_IMAGES else "detect-coco-vit-b"
    say_recipe(recipe, f"{images} images")
    return recipe


def train_and_report(config: DetectTrainConfig) -> dict[str, Any]:
    """Train, and write the page about it; returns the summary of the run, or its forecast. Every process calls it."""
    with open_world(config.run.device) as world:
        summary = with_roll_backs(attempt, config, world)
        if world.is_main and not config.dry_run:
            report_on(config.out)
        return summary


def attempt(config: DetectTrainConfig, world: World) -> dict[str, Any]:
    """Train to the end, or until the run has to go back; or forecast it."""
    task = build_task(config, world)
    return forecast(task, task.peak) if config.dry_run else task.complete()
