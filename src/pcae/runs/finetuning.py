"""TODO."""

from pathlib import Path
from typing import Any

import torch

from pcae.data.images import open_images
from pcae.data.policy import AugmentedCrops
from pcae.evaluation.recipe_choice import say_recipe
from pcae.model.encoder import Encoder
from pcae.pages.run_page import report_on
from pcae.pictures.confusion import draw_confusion
from pcae.runs.finetuning_task import Task, build_task, token_counts
from pcae.runs.roll_back import with_roll_backs
from pcae.runs.run import batches, describe_plan, finished, train_to_end, write_summary
from pcae.runs.validation import Validation, best_so_far
from pcae.settings.recipes import configure
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.terminal import console
from pcae.training.distributed import World, open_world
from pcae.training.logging import Journal
from pcae.training.loop import Progress, Watcher
from pcae.training.run_folder import BEST
from pcae.weights.files import CLASSIFIER_FILE

MANY_IMAGES = 200_000
"""From so many training images on, MAE's recipe for ImageNet suits."""


def finetune(data: str | Path, out: str | Path, **knobs: Any) -> dict[str, Any]:
    """Fine-tune on `data` into the run folder `out`, as `pcae finetune` does; returns the summary of the run.

    knobs: the command's flags with underscores, such as weights="runs/photos", drop_ratio="0:0.4", epochs=50.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(FinetuneConfig, "finetune", choose_recipe, data=str(data), out=str(out), **knobs)
    with open_world(config.run.device) as world:
        return train_and_report(config, world)


def choose_recipe(config: FinetuneConfig) -> str:
    """What `--recipe auto` stands for, by the number of images; says which, and why."""
    images = open_images(config.data, "train")
    recipe = "finetune-small" if len(images) < MANY_IMAGES else "finetune-imagenet-vit-b"
    say_recipe(recipe, f"{len(images)} images")
    return recipe


def train_and_report(config: FinetuneConfig, world: World) -> dict[str, Any]:
    """Fine-tune, and write the page about it."""
    summary = train(config, world)
    if world.is_main:
        report_on(config.out)
    return summary


def train(config: FinetuneConfig, world: World) -> dict[str, Any]:
    """Fine-tune as configured, from the start or from a checkpoint; returns the summary of the run."""
    return with_roll_backs(lambda again: attempt(again, world), config)


def attempt(config: FinetuneConfig, world: World) -> dict[str, Any]:
    """Fine-tune to the end, or until the run has to go back."""
    task = build_task(config, world)
    run, config = task.run, task.config
    summary = finished(run)
    if summary is not None:
        return summary
    crops = AugmentedCrops(
        run.images,
        task.facts.encoder.image_size,
        config.reading.crop_scale,
        config.run.seed,
        config.policy,
        tuple(task.facts.mean),
        tuple(task.facts.std),
    )
    stream = batches(run, crops, world, torch.tensor(run.images.labels))
    looks: list[Validation] = []
    done = train_to_end(
        "fine-tuning",
        run,
        stream,
        world,
        lambda: announce(task, world),
        lambda journal: [validate_by(task, journal, world, looks)],
    )
    return conclude(task, looks[0], done, world)


def validate_by(task: Task, journal: Journal, world: World, looks: list[Validation]) -> Watcher:
    """The watcher that looks at the held-out images; it is put into `looks` too."""
    config, plan = task.config, task.run.plan
    looks.append(
        Validation(
            task.method,
            lambda: task.measure(world),
            journal.note if world.is_main else lambda _: None,
            lambda: task.save(BEST, world),
            world,
            world.from_main(lambda: best_so_far(config.out)),
        )
    )

    def look(progress: Progress) -> None:
        with progress.no_training():
            looks[0].look(progress.step)

    return max(1, round(config.evaluate_every * plan.images / plan.batch_size)), look


def conclude(task: Task, validation: Validation, done: dict[str, Any], world: World) -> dict[str, Any]:
    """Write the classifier, the confusion matrix and the summary."""
    out, last = task.config.out, validation.last or validation.count()
    summary = {
        "weights": str(out / CLASSIFIER_FILE),
        "source": task.source,
        "classes": len(task.facts.classes or ()),
        "held_out": last.images,
        "drop_ratio": task.facts.drop_ratios[0],
        "criterion": task.facts.criterion,
        "pool_dropped": task.facts.pool_dropped,
        "top1": last.top1,
        "top5": last.top5,
        "best_top1": validation.best,
        **done,
    }
    task.save(CLASSIFIER_FILE, world)
    if world.is_main:
        draw_confusion(out / "confusion.png", last.confusion, task.facts.classes or ())
        write_summary(task.run, summary)
        if task.test.found:
            console.print(f"{task.test.describe()}; they were left out of the held-out images")
    return summary


def announce(task: Task, world: World) -> None:
    """Print, before the first step, what the run comes to."""
    describe_plan(task.run, world)
    schedule, encoder = task.method.schedule, Encoder(task.method.model.vit)
    millions = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    console.print(
        f"{task.source}: {millions:.1f} M parameters, {encoder.grid[0]} x {encoder.grid[1]} tokens; "
        f"{len(task.facts.classes or ())} classes, {len(task.test.images)} held-out images"
    )
    if schedule.high:
        to = f"{schedule.high:g}" if schedule.low == schedule.high else f"a ratio of {schedule.low:g}:{schedule.high:g}"
        console.print(
            f"drop ratio 0 for {schedule.start_steps} steps, then over {schedule.ramp_steps} steps up to {to}: "
            f"{' -> '.join(map(str, token_counts(encoder, schedule.high)))} tokens"
        )
