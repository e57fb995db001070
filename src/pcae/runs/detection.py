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
from pcae.runs.run import announce_numbers, carry_out, finished, write_summary
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


def attempt(config: DetectTrainConfig, here: World) -> dict[str, Any]:
    """Train as configured, from the start or from a checkpoint; returns the summary of the run, or the forecast."""
    task = build_task(config, here)
    if config.dry_run:
        if here.is_main:
            announce(task, here)
        return forecast(task.parts, views_of(task, here), here, partial(peak_of, task, here=here))
    summary = finished(task.parts)
    if summary is not None:
        return summary
    looks: list[Look] = []
    done = carry_out(
        "training the detector",
        task.parts,
        views_of(task, here),
        here,
        lambda: announce(task, here),
        lambda journal: [look_by(task, journal, here, looks)],
    )
    return conclude(task, looks[0], done, here)


class Look:
    """A watcher: COCO's figures on held-out images, written down; the best weights, kept. Every process calls it."""

    def __init__(self, task: Task, journal: Journal, here: World) -> None:
        self.task, self.journal, self.here = task, journal, here
        self.best = here.from_main(lambda: best_so_far(task.config))
        self.last: Measured | None = None

    def watch(self, progress: Progress) -> None:
        """Measure the weights as they are."""
        with progress.no_training(), uncompiled():
            self.last, before = self.task.measure(self.here), self.best
            self.best = max(before, self.last.main_ap)
            if self.here.is_main:
                self.journal.note({"step": progress.step, **self.last.numbers()})
            if self.last.main_ap > before:
                self.task.save(BEST, self.here)


def look_by(task: Task, journal: Journal, here: World, looks: list[Look]) -> Watcher:
    """The watcher that looks at the held-out images; it is put into `looks` too."""
    looks.append(Look(task, journal, here))
    numbers = task.parts.numbers
    return max(1, round(task.config.evaluate_every * numbers.images / numbers.batch_size)), looks[0].watch


def best_so_far(config: DetectTrainConfig) -> float:
    """The best AP that a run has written down, of masks or of boxes alone; below any where it has none."""
    lines = [line for line in read_metrics(config.out) if "box_ap" in line]
    return max((line.get("mask_ap", line["box_ap"]) for line in lines), default=-1.0)


def conclude(task: Task, look: Look, done: dict[str, Any], here: World) -> dict[str, Any]:
    """Write the detector and the summary."""
    last = look.last or task.measure(here)
    summary = {
        "weights": str(task.config.out / DETECTOR_FILE),
        "source": task.source,
        "classes": len(task.facts.classes),
        "held_out": last.images,
        **last.numbers(),
        "best_ap": look.best,
        **done,
    }
    task.save(DETECTOR_FILE, here)
    if here.is_main:
        write_summary(task.parts, summary)
        if task.test.found:
            console.print(f"{task.test.describe()}; they were left out of the held-out images")
    return summary


def announce(task: Task, here: World) -> None:
    """Print, before the first step, what the run comes to."""
    for note in dict.fromkeys((*task.data.notes, *task.held_out.notes)):
        console.print(f"note: {note}")
    announce_numbers(task.parts, here)
    millions = [sum(one.numel() for one in part.parameters()) / 1e6 for part in (task.method.encoder, task.method)]
    console.print(
        f"{task.source}: {millions[0]:.1f} M of {millions[1]:.1f} M parameters; {len(task.data.labels)} objects of "
        f"{len(task.facts.classes)} categories, {len(task.held_out)} held-out images"
    )


def peak_of(task: Task, batch: int, here: World) -> int:
    """Bytes at the peak of a step on so many made-up images of the largest size that views have."""
    parts, progress = task.parts, Progress(1)
    images = made_up(task.config.view, task.facts.encoder.channels or 3, batch, here)
    draw = randomness(0, 0, batch, here.device)
    states = [value for state in parts.optimizer.state.values() for value in state.values()]
    held = [*images.images, *(one["masks"] for one in images.targets), *parts.method.parameters(), *states]
    autocast = autocast_dtype(parts.config.run.precision, here.device)
    step = iter([(images, draw)])
    return peak_bytes(
        lambda: loop(parts.method, step, parts.optimizer, lambda _: 1e-6, progress, [], autocast=autocast),
        held,
        here.device,
    )


def made_up(view: ViewConfig, channels: int, batch: int, here: World) -> Objects:
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
    there = {name: value.to(here.device) for name, value in target.items()}
    return Objects([torch.rand(channels, height, width).to(here.device) for _ in range(batch)], [there] * batch)
