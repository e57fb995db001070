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
from pcae.data.images import Images, RandomCrops
from pcae.data.unreadable import BadFiles
from pcae.runs.batches import read_batches
from pcae.runs.compiling import set_blocks
from pcae.runs.data_wait import remedy
from pcae.runs.resume import checkpoints_of, go_on
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
from pcae.training.randomness import Draw
from pcae.training.run_folder import BAD_FILES, prepare
from pcae.training.sharding import filled
from pcae.writing import check_place, cleared_on_failure, replace_text


@dataclass(frozen=True)
class Parts:
    """What a run is made of, in the state that it starts or goes on from; `facts` go into every checkpoint.

    saved: the checkpoints that were written since the start. hollow: the method without weights, where these are split
    over the processes.
    """

    config: RunSettings
    images: Images
    numbers: Plan
    method: nn.Module
    optimizer: torch.optim.AdamW
    progress: Progress
    facts: dict[str, Any]
    bad_files: BadFiles
    saved: list[Path] = field(default_factory=list)
    hollow: nn.Module | None = None

    def whole(self) -> nn.Module:
        """The method with all of its weights: itself, or a copy of now where they are split. Every process calls it."""
        return self.method if self.hollow is None else filled(self.hollow, self.method)

    def save(self, here: World) -> Path:
        """Write a checkpoint. Every process calls it, the main one writes."""
        self.progress.loss = here.mean(self.progress.loss)
        checkpoints = checkpoints_of(self.config)
        return checkpoints.save(self.method, self.optimizer, self.progress, self.facts, writes=here.is_main)

    def save_if_good(self, here: World) -> None:
        """Write a checkpoint, unless steps are being skipped: the run may have to go back to before them."""
        if not self.progress.in_a_row or self.progress.step == self.numbers.steps:
            self.saved.append(self.save(here))

    def stop_if(self, asked: bool, here: World) -> None:
        """When any process was asked to stop before the last step, save and raise Interrupted. All of them call it.

        None raises before the main one has written: what starts them takes the first that ends for a failure, and ends
        the others.
        """
        progress, numbers = self.progress, self.numbers
        if not here.any(asked) or progress.step == numbers.steps:
            return
        self.settle_bad_files(here)
        if progress.step % self.config.run.checkpoint_every or progress.in_a_row:
            self.save(here)
        here.any(False)
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
    facts = go_on(config, identity, method, optimizer, progress, here)
    here.check_same(progress.step, "step to go on from; is --out on storage that all of them share?")
    if progress.step and here.is_main:
        bad_files.look_again(config.out / BAD_FILES)
    if facts["mean"] is None:
        found = here.from_main(lambda: pixel_statistics(images, size, bad_files, follow=bar("mean and std")))
        facts |= dict(zip(("mean", "std"), found, strict=True))
    set_blocks(method, config.run, numbers.steps - progress.step, here)
    return Parts(config, images, numbers, method, optimizer, progress, facts, bad_files)


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
        order=order_of(config.run.seed, facts["roll_backs"]),
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
    stream: Iterator[tuple[Batch, Draw]],
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
            Skips(config, parts.facts["roll_backs"], start, parts.saved, journal, here).watcher,
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
    stream: Iterator[tuple[Batch, Draw]],
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
    falls = ", ".join(str(round(share * numbers.steps)) for share in numbers.lr_drops)
    then = f"a tenth from each of the steps {falls} on" if falls else "down to 0"
    console.print(f"learning rate up to {numbers.peak_lr:.3g} over {numbers.warmup_steps} steps, then {then}")
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
    share = summary["data_wait_share"]
    said = remedy(share, config.data, parts.images, config.reading, config.run.device, packs=config.packs)
    if said is not None:
        console.print(said)
    if parts.bad_files.found:
        console.print(f"{parts.bad_files.describe()}; others took their place, see {config.out / BAD_FILES}")
