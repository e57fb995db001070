"""`pcae finetune`: a pre-trained encoder becomes a classifier whose speed can be chosen."""

from pathlib import Path
from typing import Any

import torch

from pcae.commands.advice import say_recipe
from pcae.commands.parts import announce_numbers, batches, carry_out, finished, write_summary
from pcae.commands.reporting import report_on
from pcae.commands.roll_back import with_roll_backs
from pcae.commands.run_settings import configure
from pcae.commands.task import Config, Task, build_task, token_counts
from pcae.commands.terminal import as_json, console
from pcae.commands.validation import Validation, best_so_far
from pcae.data.images import open_images
from pcae.data.policy import AugmentedCrops
from pcae.evaluation.confusion import draw_confusion
from pcae.model.encoder import Encoder
from pcae.training.distributed import World, world
from pcae.training.journal import Journal
from pcae.training.loop import Progress, Watcher
from pcae.weights.files import CLASSIFIER_FILE

BEST = "best.safetensors"
"""Where a run keeps the weights that were best on the held-out images."""
MANY_IMAGES = 200_000
"""From so many training images on, MAE's recipe for ImageNet suits."""


def run(config: Config) -> None:
    """Fine-tune, and say where everything lies."""
    with world(config.run.device) as here:
        summary = train_and_report(config, here)
        if here.is_main and config.json:
            as_json(summary)
        elif here.is_main:
            console.print(
                f"done: {summary['top1']:.2%} of {summary['held_out']} held-out images right at drop ratio "
                f"{summary['drop_ratio']:g} (best {summary['best_top1']:.2%}); weights in {summary['weights']}, "
                "everything else beside it"
            )


def finetune(data: str | Path, out: str | Path, **knobs: Any) -> dict[str, Any]:
    """Fine-tune on `data` into the run folder `out`, as `pcae finetune` does; returns the summary of the run.

    knobs: the command's flags with underscores, such as weights="runs/photos", drop_ratio="0:0.4", epochs=50.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(Config, "finetune", choose_recipe, data=str(data), out=str(out), **knobs)
    with world(config.run.device) as here:
        return train_and_report(config, here)


def choose_recipe(config: Config) -> str:
    """What `--recipe auto` stands for, by the number of images; says which, and why."""
    images = open_images(config.data, "train")
    recipe = "finetune-small" if len(images) < MANY_IMAGES else "finetune-imagenet-vit-b"
    say_recipe(recipe, f"{len(images)} images")
    return recipe


def train_and_report(config: Config, here: World) -> dict[str, Any]:
    """Fine-tune, and write the page about it."""
    summary = train(config, here)
    if here.is_main:
        report_on(config.out)
    return summary


def train(config: Config, here: World) -> dict[str, Any]:
    """Fine-tune as configured, from the start or from a checkpoint; returns the summary of the run."""
    return with_roll_backs(lambda again: attempt(again, here), config)


def attempt(config: Config, here: World) -> dict[str, Any]:
    """Fine-tune to the end, or until the run has to go back."""
    task = build_task(config, here)
    parts, config = task.parts, task.config
    summary = finished(parts)
    if summary is not None:
        return summary
    crops = AugmentedCrops(
        parts.images,
        task.facts.encoder.image_size,
        config.reading.crop_scale,
        config.run.seed,
        config.policy,
        tuple(task.facts.mean),
        tuple(task.facts.std),
    )
    stream = batches(parts, crops, here, torch.tensor(parts.images.labels))
    looks: list[Validation] = []
    done = carry_out(
        "fine-tuning",
        parts,
        stream,
        here,
        lambda: announce(task, here),
        lambda journal: [validate_by(task, journal, here, looks)],
    )
    return conclude(task, looks[0], done, here)


def validate_by(task: Task, journal: Journal, here: World, looks: list[Validation]) -> Watcher:
    """The watcher that looks at the held-out images; it is put into `looks` too."""
    config, numbers = task.config, task.parts.numbers
    looks.append(
        Validation(
            task.method,
            lambda: task.measure(here),
            journal.note if here.is_main else lambda _: None,
            lambda: task.save(BEST, here),
            here,
            here.from_main(lambda: best_so_far(config.out)),
        )
    )

    def look(progress: Progress) -> None:
        with progress.no_training():
            looks[0].look(progress.step)

    return max(1, round(config.evaluate_every * numbers.images / numbers.batch_size)), look


def conclude(task: Task, validation: Validation, done: dict[str, Any], here: World) -> dict[str, Any]:
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
    task.save(CLASSIFIER_FILE, here)
    if here.is_main:
        draw_confusion(out / "confusion.png", last.confusion, task.facts.classes or ())
        write_summary(task.parts, summary)
        if task.test.found:
            console.print(f"{task.test.describe()}; they were left out of the held-out images")
    return summary


def announce(task: Task, here: World) -> None:
    """Print, before the first step, what the run comes to."""
    announce_numbers(task.parts, here)
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
