"""What every training run is made of, from the first step or from a checkpoint on."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcae.data.batches import pixel_statistics
from pcae.data.crops import RandomCrops
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles
from pcae.runs.batches import read_batches
from pcae.runs.compiling import set_blocks
from pcae.runs.data_wait import advice
from pcae.runs.resume import checkpoints_of, resume_from
from pcae.runs.roll_back import Skips, order_of
from pcae.settings.training import RunSettings
from pcae.settings.values import to_yaml
from pcae.terminal import bar, console, warn
from pcae.training.distributed import World
from pcae.training.interruption import Interrupted, asked_to_stop
from pcae.training.logging import Journal
from pcae.training.loop import Batch, Progress, Watcher, loop
from pcae.training.micro_batches import Labelled
from pcae.training.plan import Plan, autocast_dtype
from pcae.training.randomness import StepRandom
from pcae.training.run_folder import BAD_FILES, prepare
from pcae.training.sharding import materialise
from pcae.writing import check_place, cleared_on_failure, replace_text


@dataclass(frozen=True)
class TrainingRun:
    """What a run is made of, in the state that it starts or goes on from; `facts` go into every checkpoint.

    saved: the checkpoints that were written since the start. hollow: the method without weights, where these are split
    over the processes.
    """

    config: RunSettings
    images: Images
    plan: Plan
    method: nn.Module
    optimizer: torch.optim.AdamW
    progress: Progress
    facts: dict[str, Any]
    bad_files: BadFiles
    saved: list[Path] = field(default_factory=list)
    meta_copy: nn.Module | None = None

    def whole(self) -> nn.Module:
        """The method with all of its weights: itself, or a copy of now where they are split. Every process calls it."""
        return self.method if self.meta_copy is None else materialise(self.meta_copy, self.method)

    def save(self, world: World) -> Path:
        """Write a checkpoint. Every process calls it, the main one writes."""
        self.progress.loss = world.mean(self.progress.loss)
        checkpoints = checkpoints_of(self.config)
        return checkpoints.save(self.method, self.optimizer, self.progress, self.facts, writes=world.is_main)

    def save_if_good(self, world: World) -> None:
        """Write a checkpoint, unless steps are being skipped: the run may have to go back to before them."""
        if not self.progress.in_a_row or self.progress.step == self.plan.steps:
            self.saved.append(self.save(world))

    def stop_if(self, asked: bool, world: World) -> None:
        """When any process was asked to stop before the last step, save and raise Interrupted. All of them call it.

        None raises before the main one has written: what starts them takes the first that ends for a failure, and ends
        the others.
        """
        progress, plan = self.progress, self.plan
        if not world.any(asked) or progress.step == plan.steps:
            return
        self.settle_bad_files(world)
        if progress.step % self.config.run.checkpoint_every or progress.in_a_row:
            self.save(world)
        world.any(False)
        raise Interrupted(
            f"stopped after step {progress.step} of {plan.steps}, which is saved in {self.config.out}; the same "
            "command goes on from there"
        )

    def settle_bad_files(self, world: World) -> None:
        """Tell all processes what any of them could not read, write it down, and stop the run when it is too much."""
        news = world.gather(self.bad_files.news)
        for failed in news:
            self.bad_files.found |= failed
        self.bad_files.news = {}
        if world.is_main and any(news):
            replace_text(self.config.out / BAD_FILES, self.bad_files.lines())
        self.bad_files.check()


def start_or_resume(
    config: RunSettings,
    images: Images,
    plan: Plan,
    method: nn.Module,
    optimizer: torch.optim.AdamW,
    size: tuple[int, int],
    world: World,
    **identity: Any,
) -> TrainingRun:
    """The parts in the state that the run starts or goes on from; the data's statistics computed where none are given.

    size: height and width of the images in pixels.
    """
    check_place(config.out, config.data)
    progress = Progress(plan.steps)
    bad_files = BadFiles(images, config.reading.max_bad_files)
    identity |= {"images": len(images), "files": images.digest()}
    facts = resume_from(config, identity, method, optimizer, progress, world)
    world.check_same(progress.step, "step to go on from; is --out on storage that all of them share?")
    if progress.step and world.is_main:
        bad_files.look_again(config.out / BAD_FILES)
    if facts["mean"] is None:
        found = world.from_main(lambda: pixel_statistics(images, size, bad_files, follow=bar("mean and std")))
        facts |= dict(zip(("mean", "std"), found, strict=True))
    set_blocks(method, config.run, plan.steps - progress.step, world)
    return TrainingRun(config, images, plan, method, optimizer, progress, facts, bad_files)


def batches(
    run: TrainingRun, crops: RandomCrops, world: World, labels: Tensor | None = None
) -> Iterator[tuple[Tensor | Labelled, StepRandom]]:
    """This process's part of the run's batches, from the step to go on from. Raises ValueError for wrong statistics."""
    config, facts = run.config, run.facts
    reading = replace(config.reading, mean=tuple(facts["mean"]), std=tuple(facts["std"]))
    return read_batches(
        crops,
        run.plan,
        reading,
        run.bad_files,
        world,
        start=run.progress.step,
        accumulation=config.run.accumulation,
        order=order_of(config.run.seed, facts["roll_backs"]),
        labels=labels,
    )


def finished(run: TrainingRun) -> dict[str, Any] | None:
    """The summary of a run that is over, as it stands in its folder."""
    summary = run.config.out / "summary.json"
    if run.progress.step < run.plan.steps or not summary.is_file():
        return None
    return json.loads(summary.read_text(encoding="utf-8"))


def train_to_end(
    what: str,
    run: TrainingRun,
    stream: Iterator[tuple[Batch, StepRandom]],
    world: World,
    announce: Callable[[], None],
    watchers: Callable[[Journal], list[Watcher]] = lambda _: [],
) -> dict[str, Any]:
    """Train to the last step, with logs, checkpoints and more `watchers`; returns what this start came to.

    announce: prints what the run comes to, before the first step.
    """
    config, start = run.config, run.progress.step
    run.progress.began = time.perf_counter()
    with ExitStack() as stack:
        if world.is_main:
            stack.enter_context(cleared_on_failure(config.out, lambda: run.progress.step == start))
            prepare(config.out, to_yaml(config))
            announce()
        journal = stack.enter_context(Journal(what, config.out, run.plan, start, world, console))
        watching = [
            *watchers(journal),
            (config.run.log_every, journal.write),
            Skips(config, run.facts["roll_backs"], start, run.saved, journal, world).watcher,
            (config.run.checkpoint_every, lambda _: run.save_if_good(world)),
            (config.run.log_every, lambda _: run.settle_bad_files(world)),
        ]
        request = stack.enter_context(asked_to_stop())
        watching.append((1, lambda progress: run.stop_if(request.made, world)))
        take_steps(run, world.wrap(run.method), stream, run.progress, watching, world)
    if start == run.plan.steps:
        run.save(world)
    return summary_of(run, start)


def take_steps(
    run: TrainingRun,
    method: nn.Module,
    stream: Iterator[tuple[Batch, StepRandom]],
    progress: Progress,
    watchers: list[Watcher],
    world: World,
) -> None:
    """Train by the run's settings to the last step of `progress`. method: the run's, as its processes share it."""
    loop(
        method,
        stream,
        run.optimizer,
        run.plan.learning_rate,
        progress,
        watchers,
        accumulation=run.config.run.accumulation,
        clip_grad=run.config.optimizer.clip_grad,
        autocast=autocast_dtype(run.config.run.precision, world.device),
    )


def summary_of(run: TrainingRun, start: int) -> dict[str, Any]:
    """The numbers of every run's summary; seconds are those of all starts, the speed is that of this one's training."""
    plan, progress = run.plan, run.progress
    total = progress.seconds
    spent = max(total - progress.before, 1e-9)
    return {
        "images": plan.images,
        "steps": progress.step,
        "epochs": plan.epochs,
        "skipped": int(progress.skipped),
        "loss": float(progress.loss),
        "bad_files": len(run.bad_files.found),
        "seconds": total,
        "images_per_second": (progress.step - start) * plan.batch_size / spent,
        "data_wait_share": progress.waited / spent,
    }


def describe_plan(run: TrainingRun, world: World) -> None:
    """Print what the run's steps, batches and learning rate come to."""
    plan, images = run.plan, run.images
    per_epoch = plan.images / plan.batch_size
    console.print(
        f"{plan.images} images, {plan.steps} steps of {plan.batch_size} = {plan.epochs:.4g} epochs "
        f"({per_epoch:.4g} steps an epoch)"
    )
    if images.others:
        left = ", ".join(f"{count} {suffix}" for suffix, count in sorted(images.others.items()))
        console.print(f"left out, not being images: {left}")
    console.print(
        f"effective batch {plan.batch_size} = {world.size} x {world.device} x {run.config.run.accumulation} "
        f"micro-batches of {plan.micro_batch}"
    )
    falls = ", ".join(str(round(share * plan.steps)) for share in plan.lr_drops)
    then = f"a tenth from each of the steps {falls} on" if falls else "down to 0"
    console.print(f"learning rate up to {plan.peak_lr:.3g} over {plan.warmup_steps} steps, then {then}")
    if plan.warmup_steps >= plan.steps:
        warn("the warm-up is longer than the run: the learning rate stays below its peak")
    if per_epoch < 1:
        warn(
            f"a step of {plan.batch_size} shows each of the {plan.images} images {1 / per_epoch:.3g} times; "
            "a smaller --batch-size makes more steps of the same work"
        )
    if run.progress.step:
        console.print(f"going on from step {run.progress.step}")


def write_summary(run: TrainingRun, summary: dict[str, Any]) -> None:
    """Write summary.json, and name the files that could not be read; in the main process, when all else is written."""
    config = run.config
    replace_text(config.out / "summary.json", json.dumps(summary, indent=2))
    share = summary["data_wait_share"]
    said = advice(share, config.data, run.images, config.reading, config.run.device, packs=config.packs)
    if said is not None:
        console.print(said)
    if run.bad_files.found:
        console.print(f"{run.bad_files.describe()}; others took their place, see {config.out / BAD_FILES}")
