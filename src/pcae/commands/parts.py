"""What every training run is made of, from the first step or from a checkpoint on."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcae.commands.compiling import set_blocks
from pcae.commands.reading import read_batches
from pcae.commands.roll_back import Skips, count_roll_backs
from pcae.commands.run_settings import NEUTRAL, RunSettings
from pcae.commands.terminal import bar, console, warn
from pcae.commands.waiting import remedy
from pcae.data.batches import pixel_statistics
from pcae.data.images import Images, RandomCrops
from pcae.data.unreadable import BadFiles
from pcae.settings import AUTO, to_plain, to_yaml
from pcae.training.checkpoint import Checkpoints, replace_text, restore
from pcae.training.distributed import World
from pcae.training.feed import Labelled
from pcae.training.folder import check_place, cleared_on_failure, facts_of, find_checkpoint, prepare
from pcae.training.interruption import Interrupted, asked_to_stop
from pcae.training.journal import Journal
from pcae.training.loop import Progress, Watcher, loop
from pcae.training.plan import Plan, autocast_dtype
from pcae.training.randomness import Draw, seed_of
from pcae.training.sharding import filled

BAD_FILES = "bad-files.jsonl"
"""Where a run folder names the files that could not be read."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of, in the state that it starts or goes on from; `facts` go into every checkpoint.

    roll_backs: how often it went back to a checkpoint before; each time the images' order is another one.
    hollow: the method without weights, where these are split over the processes.
    """

    config: RunSettings
    images: Images
    numbers: Plan
    method: nn.Module
    optimizer: torch.optim.AdamW
    progress: Progress
    facts: dict[str, Any]
    bad_files: BadFiles
    roll_backs: int = 0
    hollow: nn.Module | None = None

    def whole(self) -> nn.Module:
        """The method with all of its weights: itself, or a copy of now where they are split. Every process calls it."""
        return self.method if self.hollow is None else filled(self.hollow, self.method)

    def save(self, here: World) -> None:
        """Write a checkpoint. Every process calls it, the main one writes."""
        self.progress.loss = here.mean(self.progress.loss)
        checkpoints = checkpoints_of(self.config)
        checkpoints.save(self.method, self.optimizer, self.progress, self.facts, writes=here.is_main)

    def save_if_good(self, here: World) -> None:
        """Write a checkpoint, unless steps are being skipped: the run may have to go back to before them."""
        if not self.progress.in_a_row or self.progress.step == self.numbers.steps:
            self.save(here)

    def stop_if(self, asked: bool, here: World) -> None:
        """When any process was asked to stop before the last step, save and raise Interrupted. All of them call it."""
        progress, numbers = self.progress, self.numbers
        if not here.any(asked) or progress.step == numbers.steps:
            return
        self.settle_bad_files(here)
        if progress.step % self.config.run.checkpoint_every or progress.in_a_row:
            self.save(here)
        raise Interrupted(
            f"stopped after step {progress.step} of {numbers.steps}, which is saved in {self.config.out}; the same "
            "command goes on from there"
        )

    def settle_bad_files(self, here: World) -> None:
        """Tell all processes what any of them could not read, write it down, and stop the run when it is too much."""
        news = here.gather(self.bad_files.news)
        for failed in news:
            self.bad_files.found |= failed
        self.bad_files.news = {}
        if here.is_main and any(news):
            replace_text(self.config.out / BAD_FILES, self.bad_files.lines())
        self.bad_files.check()


def checkpoints_of(config: RunSettings) -> Checkpoints:
    """Where the run's checkpoints lie."""
    return Checkpoints(config.out / "checkpoints", config.run.keep_checkpoints)


def go_on(
    config: RunSettings, identity: dict[str, Any], method: nn.Module, optimizer: torch.optim.AdamW, progress: Progress
) -> dict[str, Any]:
    """Put the state of the checkpoint to go on from in place, if there is one; settings and the data's statistics.

    identity: what the run is of beside its settings: which images, which classes.
    """
    settings = {name: value for name, value in to_plain(config).items() if name not in NEUTRAL}
    mean, std = config.reading.mean, config.reading.std
    checkpoint = find_checkpoint(checkpoints_of(config), config.resume, settings)
    if checkpoint and config.resume == AUTO:
        checkpoint = whole_checkpoint(config)
    settings |= identity
    if checkpoint is None:
        return {"settings": settings, "mean": mean and list(mean), "std": std and list(std)}
    facts = facts_of(checkpoint, settings)
    if mean and std and [*mean, *std] != [*facts["mean"], *facts["std"]]:
        raise ValueError(f"{checkpoint} has mean {facts['mean']} and std {facts['std']}, not {mean} and {std}")
    restore(checkpoint, method, optimizer, progress)
    return {"settings": settings, "mean": facts["mean"], "std": facts["std"]}


def whole_checkpoint(config: RunSettings) -> Path:
    """The run's newest checkpoint that is not damaged; newer ones are named. Raises ValueError when all are damaged."""
    path, faults = checkpoints_of(config).whole()
    for fault in faults:
        warn(f"{fault}; going on from {path}")
    return path


def start_or_go_on(
    config: RunSettings,
    images: Images,
    numbers: Plan,
    method: nn.Module,
    optimizer: torch.optim.AdamW,
    size: tuple[int, int],
    here: World,
    **identity: Any,
) -> Parts:
    """The parts in the state that the run starts or goes on from; the data's statistics computed where none are given.

    size: height and width of the images in pixels.
    """
    check_place(config.out, config.data)
    progress = Progress(numbers.steps)
    bad_files = BadFiles(images, config.reading.max_bad_files)
    identity |= {"images": len(images), "files": images.digest()}
    facts = go_on(config, identity, method, optimizer, progress)
    here.check_same(progress.step, "step to go on from; is --out on storage that all of them share?")
    if progress.step and here.is_main:
        bad_files.look_again(config.out / BAD_FILES)
    if facts["mean"] is None:
        found = here.from_main(lambda: pixel_statistics(images, size, bad_files, follow=bar("mean and std")))
        facts |= dict(zip(("mean", "std"), found, strict=True))
    set_blocks(method, config.run, numbers.steps - progress.step, here)
    roll_backs = here.from_main(lambda: count_roll_backs(config.out, progress.step))
    return Parts(config, images, numbers, method, optimizer, progress, facts, bad_files, roll_backs)


def batches(
    parts: Parts, crops: RandomCrops, here: World, labels: Tensor | None = None
) -> Iterator[tuple[Tensor | Labelled, Draw]]:
    """This process's part of the run's batches, from the step to go on from. Raises ValueError for wrong statistics."""
    config, facts = parts.config, parts.facts
    reading = replace(config.reading, mean=tuple(facts["mean"]), std=tuple(facts["std"]))
    return read_batches(
        crops,
        parts.numbers,
        reading,
        parts.bad_files,
        here,
        start=parts.progress.step,
        accumulation=config.run.accumulation,
        order=seed_of(config.run.seed, "roll-back", parts.roll_backs) if parts.roll_backs else None,
        labels=labels,
    )


def finished(parts: Parts) -> dict[str, Any] | None:
    """The summary of a run that is over, as it stands in its folder."""
    summary = parts.config.out / "summary.json"
    if parts.progress.step < parts.numbers.steps or not summary.is_file():
        return None
    return json.loads(summary.read_text(encoding="utf-8"))


def carry_out(
    what: str,
    parts: Parts,
    stream: Iterator[tuple[Tensor | Labelled, Draw]],
    here: World,
    announce: Callable[[], None],
    watchers: Callable[[Journal], list[Watcher]] = lambda _: [],
) -> dict[str, Any]:
    """Train to the last step, with logs, checkpoints and more `watchers`; returns what this start came to.

    announce: prints what the run comes to, before the first step.
    """
    config, start = parts.config, parts.progress.step
    parts.progress.began = time.perf_counter()
    with ExitStack() as stack:
        if here.is_main:
            stack.enter_context(cleared_on_failure(config.out, lambda: parts.progress.step == start))
            prepare(config.out, to_yaml(config))
            announce()
        journal = stack.enter_context(Journal(what, config.out, parts.numbers, start, here, console))
        watching = [
            *watchers(journal),
            (config.run.log_every, journal.write),
            Skips(config, checkpoints_of(config), parts.roll_backs, journal, here).watcher,
            (config.run.checkpoint_every, lambda _: parts.save_if_good(here)),
            (config.run.log_every, lambda _: parts.settle_bad_files(here)),
        ]
        request = stack.enter_context(asked_to_stop())
        watching.append((1, lambda progress: parts.stop_if(request.made, here)))
        advance(parts, here.wrap(parts.method), stream, parts.progress, watching, here)
    if start == parts.numbers.steps:
        parts.save(here)
    return outcome(parts, start)


def advance(
    parts: Parts,
    method: nn.Module,
    stream: Iterator[tuple[Tensor | Labelled, Draw]],
    progress: Progress,
    watchers: list[Watcher],
    here: World,
) -> None:
    """Train by the run's settings to the last step of `progress`. method: the run's, as its processes share it."""
    loop(
        method,
        stream,
        parts.optimizer,
        parts.numbers.learning_rate,
        progress,
        watchers,
        accumulation=parts.config.run.accumulation,
        clip_grad=parts.config.optimizer.clip_grad,
        autocast=autocast_dtype(parts.config.run.precision, here.device),
    )


def outcome(parts: Parts, start: int) -> dict[str, Any]:
    """The numbers of every run's summary; seconds are those of all starts, the speed is that of this one's training."""
    numbers, progress = parts.numbers, parts.progress
    total = progress.seconds
    here = max(total - progress.before, 1e-9)
    return {
        "images": numbers.images,
        "steps": progress.step,
        "epochs": numbers.epochs,
        "skipped": int(progress.skipped),
        "loss": float(progress.loss),
        "bad_files": len(parts.bad_files.found),
        "seconds": total,
        "images_per_second": (progress.step - start) * numbers.batch_size / here,
        "data_wait_share": progress.waited / here,
    }


def announce_numbers(parts: Parts, here: World) -> None:
    """Print what the run's steps, batches and learning rate come to."""
    numbers, images = parts.numbers, parts.images
    per_epoch = numbers.images / numbers.batch_size
    console.print(
        f"{numbers.images} images, {numbers.steps} steps of {numbers.batch_size} = {numbers.epochs:.4g} epochs "
        f"({per_epoch:.4g} steps an epoch)"
    )
    if images.others:
        left = ", ".join(f"{count} {suffix}" for suffix, count in sorted(images.others.items()))
        console.print(f"left out, not being images: {left}")
    console.print(
        f"effective batch {numbers.batch_size} = {here.size} x {here.device} x {parts.config.run.accumulation} "
        f"micro-batches of {numbers.micro_batch}"
    )
    console.print(f"learning rate up to {numbers.peak_lr:.3g} over {numbers.warmup_steps} steps, then down to 0")
    if numbers.warmup_steps >= numbers.steps:
        warn("the warm-up is longer than the run: the learning rate stays below its peak")
    if per_epoch < 1:
        warn(
            f"a step of {numbers.batch_size} shows each of the {numbers.images} images {1 / per_epoch:.3g} times; "
            "a smaller --batch-size makes more steps of the same work"
        )
    if parts.progress.step:
        console.print(f"going on from step {parts.progress.step}")


def write_summary(parts: Parts, summary: dict[str, Any]) -> None:
    """Write summary.json, and name the files that could not be read; in the main process, when all else is written."""
    config = parts.config
    replace_text(config.out / "summary.json", json.dumps(summary, indent=2))
    said = remedy(summary["data_wait_share"], config.data, parts.images, config.reading, config.run.device)
    if said is not None:
        console.print(said)
    if parts.bad_files.found:
        console.print(f"{parts.bad_files.describe()}; others took their place, see {config.out / BAD_FILES}")
