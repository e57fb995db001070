"""TODO."""

from functools import partial
from typing import Any

import torch

from pcae.data.coco.annotations import open_coco
from pcae.evaluation.memory import peak_bytes
from pcae.evaluation.recipe_choice import say_recipe
from pcae.inference.detection import Measured
from pcae.model.compiled import uncompiled
from pcae.runs.detection_task import Task, build_task, views_of
from pcae.runs.dry_run import forecast
from pcae.runs.run import describe_plan, finished, train_to_end, write_summary
from pcae.settings.reading import ViewConfig
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.tasks.detection import Annotated as Objects
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.training.logging import Journal, read_metrics
from pcae.training.loop import Progress, Watcher, loop
from pcae.training.plan import autocast_dtype
from pcae.training.randomness import randomness
from pcae.training.run_folder import BEST
from pcae.weights.detectors import DETECTOR_FILE

MANY_IMAGES = 10_000
"""Training images from which on the recipe for COCO's 118,000 is the nearer one."""
SHOWN = 10
"""Objects of each made-up image that a dry run measures memory on."""


def choose_recipe(config: DetectTrainConfig) -> str:
    """What `--recipe auto` stands for, by the number of images; says which, and why."""
    images = len(open_coco(config.data, images=config.images, max_bad_annotations=config.max_bad_annotations))
    recipe = "detect-small" if images < MANY_IMAGES else "detect-coco-vit-b"
    say_recipe(recipe, f"{images} images")
    return recipe


def attempt(config: DetectTrainConfig, world: World) -> dict[str, Any]:
    """Train as configured, from the start or from a checkpoint; returns the summary of the run, or the forecast."""
    task = build_task(config, world)
    if config.dry_run:
        if world.is_main:
            announce(task, world)
        return forecast(task.run, views_of(task, world), world, partial(peak_of, task, world=world))
    summary = finished(task.run)
    if summary is not None:
        return summary
    looks: list[Look] = []
    done = train_to_end(
        "training the detector",
        task.run,
        views_of(task, world),
        world,
        lambda: announce(task, world),
        lambda journal: [look_by(task, journal, world, looks)],
    )
    return conclude(task, looks[0], done, world)


class Look:
    """A watcher: COCO's figures on held-out images, written down; the best weights, kept. Every process calls it."""

    def __init__(self, task: Task, journal: Journal, world: World) -> None:
        self.task, self.journal, self.world = task, journal, world
        self.best = world.from_main(lambda: best_so_far(task.config))
        self.last: Measured | None = None

    def watch(self, progress: Progress) -> None:
        """Measure the weights as they are."""
        with progress.no_training(), uncompiled():
            self.last, before = self.task.measure(self.world), self.best
            self.best = max(before, self.last.main_ap)
            if self.world.is_main:
                self.journal.note({"step": progress.step, **self.last.numbers()})
            if self.last.main_ap > before:
                self.task.save(BEST, self.world)


def look_by(task: Task, journal: Journal, world: World, looks: list[Look]) -> Watcher:
    """The watcher that looks at the held-out images; it is put into `looks` too."""
    looks.append(Look(task, journal, world))
    plan = task.run.plan
    return max(1, round(task.config.evaluate_every * plan.images / plan.batch_size)), looks[0].watch


def best_so_far(config: DetectTrainConfig) -> float:
    """The best AP that a run has written down, of masks or of boxes alone; below any where it has none."""
    lines = [line for line in read_metrics(config.out) if "box_ap" in line]
    return max((line.get("mask_ap", line["box_ap"]) for line in lines), default=-1.0)


def conclude(task: Task, look: Look, done: dict[str, Any], world: World) -> dict[str, Any]:
    """Write the detector and the summary."""
    last = look.last or task.measure(world)
    summary = {
        "weights": str(task.config.out / DETECTOR_FILE),
        "source": task.source,
        "classes": len(task.facts.classes),
        "held_out": last.images,
        **last.numbers(),
        "best_ap": look.best,
        **done,
    }
    task.save(DETECTOR_FILE, world)
    if world.is_main:
        write_summary(task.run, summary)
        if task.test.found:
            console.print(f"{task.test.describe()}; they were left out of the held-out images")
    return summary


def announce(task: Task, world: World) -> None:
    """Print, before the first step, what the run comes to."""
    for note in dict.fromkeys((*task.data.notes, *task.held_out.notes)):
        console.print(f"note: {note}")
    describe_plan(task.run, world)
    millions = [sum(one.numel() for one in part.parameters()) / 1e6 for part in (task.method.encoder, task.method)]
    console.print(
        f"{task.source}: {millions[0]:.1f} M of {millions[1]:.1f} M parameters; {len(task.data.labels)} objects of "
        f"{len(task.facts.classes)} categories, {len(task.held_out)} held-out images"
    )


def peak_of(task: Task, batch: int, world: World) -> int:
    """Bytes at the peak of a step on so many made-up images of the largest size that views have."""
    run, progress = task.run, Progress(1)
    images = made_up(task.config.view, task.facts.encoder.channels or 3, batch, world)
    random = randomness(0, 0, batch, world.device)
    states = [value for state in run.optimizer.state.values() for value in state.values()]
    held = [*images.images, *(one["masks"] for one in images.targets), *run.method.parameters(), *states]
    autocast = autocast_dtype(run.config.run.precision, world.device)
    step = iter([(images, random)])
    return peak_bytes(
        lambda: loop(run.method, step, run.optimizer, lambda _: 1e-6, progress, [], autocast=autocast),
        held,
        world.device,
    )


def made_up(view: ViewConfig, channels: int, batch: int, world: World) -> Objects:
    """Images of the largest size that views have, with squares on them."""
    height, width = view.jitter_size if view.views == "jitter" else (max(view.shortest_sides), view.longest_side)
    side = max(1, min(height, width) // 4)
    places = torch.linspace(0, 1, SHOWN).outer(torch.tensor([width - side, height - side])).long()
    masks = torch.zeros(SHOWN, height, width, dtype=torch.uint8)
    for mask, (left, top) in zip(masks, places.tolist(), strict=True):
        mask[top : top + side, left : left + side] = 1
    target = {
        "boxes": torch.cat([places, places + side], 1).float(),
        "labels": torch.ones(SHOWN).long(),
        "masks": masks,
    }
    there = {name: value.to(world.device) for name, value in target.items()}
    return Objects([torch.rand(channels, height, width).to(world.device) for _ in range(batch)], [there] * batch)
