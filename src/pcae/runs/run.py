"""What every training run is made of, from the first step or from a checkpoint on."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from pcae.data.batches import MicroBatches, Order, epoch_order, pixel_statistics
from pcae.data.crops import RandomCrops
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles
from pcae.runs.batches import read_batches
from pcae.runs.compiling import set_blocks
from pcae.runs.data_wait import advice
from pcae.runs.identity import identity_of
from pcae.runs.resume import checkpoints_of, resume_from
from pcae.runs.roll_back import Skips, order_of
from pcae.settings.training import RunSettings
from pcae.settings.values import to_plain, to_yaml
from pcae.terminal import bar, console, warn
from pcae.training.callbacks import Audience, RunFacts
from pcae.training.distributed import World
from pcae.training.interruption import Interrupted, asked_to_stop
from pcae.training.logging import Journal
from pcae.training.loop import Batch, Progress, Watcher, loop
from pcae.training.micro_batches import Labelled
from pcae.training.optimizer import build_optimizer
from pcae.training.plan import Plan, autocast_dtype
from pcae.training.randomness import StepRandom
from pcae.training.run_folder import BAD_FILES, prepare
from pcae.training.sharding import materialise, shard
from pcae.writing import check_place, cleared_on_failure, replace_text

C = TypeVar("C", bound=RunSettings)
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class TrainingRun(Generic[C, M]):
    """What a run is made of, in the state that it starts or goes on from; `facts` go into every checkpoint.

    meta_copy: the method without weights, where these are split over the processes. saved: the checkpoints that were
    written since the start. audience: who hears of the run. order: which images an epoch shows. Every process calls the
    methods.
    """

    config: C
    images: Images
    plan: Plan
    method: M
    optimizer: torch.optim.AdamW
    progress: Progress
    facts: dict[str, Any]
    bad_files: BadFiles
    world: World
    meta_copy: M | None
    saved: list[Path] = field(default_factory=list)
    audience: Audience = field(default_factory=Audience)
    order: Order = epoch_order

    @classmethod
    def start_or_resume(
        cls,
        config: C,
        images: Images,
        plan: Plan,
        method: M,
        size: tuple[int, int],
        world: World,
        groups: Callable[[], list[dict]] | None = None,
        **identity: Any,
    ) -> "TrainingRun[C, M]":
        """The run in the state that it starts or goes on from; the data's statistics computed where none are given.

        size: height and width of the images in pixels. groups: the optimizer's parameter groups, where they are not the
        usual two. identity: what the run is of beside its settings and images.
        """
        check_place(config.out, config.data)
        meta_copy = cast(M, shard(method, world.device)) if config.run.fully_shard else None
        method = method.to(world.device)
        optimizer = build_optimizer(method, config.optimizer, groups and groups())
        progress = Progress(plan.steps)
        bad_files = BadFiles(images, config.reading.max_bad_files)
        facts = resume_from(config, identity | identity_of(config, images), method, optimizer, progress, world)
        world.check_same(progress.step, "step to go on from; is --out on storage that all of them share?")
        if progress.step and world.is_main:
            bad_files.look_again(config.out / BAD_FILES)
        if facts["mean"] is None:
            found = world.from_main(lambda: pixel_statistics(images, size, bad_files, follow=bar("mean and std")))
            facts |= dict(zip(("mean", "std"), found, strict=True))
        set_blocks(method, config.run, plan.steps - progress.step, world)
        reading = replace(config.reading, mean=tuple(facts["mean"]), std=tuple(facts["std"]))
        config = replace(config, reading=reading)
        return cls(config, images, plan, method, optimizer, progress, facts, bad_files, world, meta_copy)

    def whole(self) -> M:
        """The method with all of its weights: itself, or a copy of now where they are split."""
        return self.method if self.meta_copy is None else cast(M, materialise(self.meta_copy, self.method))

    def own_images(self) -> MicroBatches:
        """Which images this process reads, from the step to go on from; in another order each time that the run went
        back."""
        run, plan, world = self.config.run, self.plan, self.world
        order, start = order_of(run.seed, self.facts["roll_backs"]), self.progress.step
        parts = world.rank, world.size, run.accumulation
        return MicroBatches(plan.images, order, plan.batch_size, start, plan.steps, *parts, self.order)

    def batches(
        self, crops: RandomCrops, labels: Tensor | None = None
    ) -> Iterator[tuple[Tensor | Labelled, StepRandom]]:
        """This process's part of the batches, from the step to go on from. Raises ValueError for wrong statistics."""
        return read_batches(crops, self.own_images(), self.config.reading, self.bad_files, self.world.device, labels)

    def finished(self) -> dict[str, Any] | None:
        """The summary of a run that is over, as it stands in its folder, which may have been moved since."""
        summary = self.config.out / "summary.json"
        if self.progress.step < self.plan.steps or not summary.is_file():
            return None
        said = json.loads(summary.read_text(encoding="utf-8"))
        return said | {"weights": str(self.config.out / Path(said["weights"]).name)}

    def train(
        self,
        what: str,
        stream: Iterator[tuple[Batch, StepRandom]],
        announce: Callable[[], None],
        watchers: Callable[[Journal], list[Watcher]],
    ) -> dict[str, Any]:
        """Train to the last step, with logs, checkpoints and more `watchers`; returns what this start came to.

        announce: prints, in the main process, what the run comes to, before the first step.
        """
        config, world, start = self.config, self.world, self.progress.step
        log_every = self.plan.log_every(config.run.log_every)
        self.progress.began = time.perf_counter()
        with ExitStack() as stack:
            if world.is_main:
                stack.enter_context(cleared_on_failure(config.out, lambda: self.progress.step == start))
                prepare(config.out, to_yaml(config))
                announce()
            stack.push(lambda kind, *_: self.audience.close(failed=True) if kind else None)  # before the folder may go
            journal = stack.enter_context(Journal(what, config.out, self.plan, start, world, console, self.audience))
            world.from_main(lambda: self.tell_of_start(what))
            skips = Skips(config, self.facts["roll_backs"], start, self.saved, journal, world)
            watching = [
                *watchers(journal),
                (log_every, journal.write),
                (config.run.roll_back_after, skips.watch),  # ends less than twice as many skipped steps as are borne
                (self.checkpoint_every, lambda _: self.save_if_good()),
                (log_every, lambda _: self.settle_bad_files()),
            ]
            asked = stack.enter_context(asked_to_stop())
            watching.append((1, lambda _: self.stop_if(asked.is_set())))
            self.take_steps(world.wrap(self.method), stream, self.progress, watching)
            world.from_main(self.audience.raise_failure)
        if start == self.plan.steps:
            self.save()
        return self.summary(start)

    def tell_of_start(self, what: str) -> None:
        """Tell the audience what run this is; in the main process, before the first step."""
        facts = RunFacts(what, self.config.out, to_plain(self.config), self.progress.step, self.plan.steps)
        with self.progress.no_training():
            self.audience.tell(lambda one: one.on_start(facts))
        self.audience.raise_failure()

    def take_steps(
        self,
        method: nn.Module,
        stream: Iterator[tuple[Batch, StepRandom]],
        progress: Progress,
        watchers: list[Watcher],
    ) -> None:
        """Train by the run's settings to the last step of `progress`. method: the run's, as its processes share it."""
        loop(
            method,
            stream,
            self.optimizer,
            self.plan.learning_rate,
            progress,
            watchers,
            accumulation=self.config.run.accumulation,
            clip_grad=self.config.optimizer.clip_grad,
            autocast=self.autocast,
        )

    @property
    def autocast(self) -> torch.dtype | None:
        """The type of matrix products under autocast; None is float32 throughout."""
        return autocast_dtype(self.config.run.precision, self.world.device)

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""
        return self.plan.steps_every(self.config.run.checkpoint_every)

    def save(self) -> Path:
        """Write a checkpoint; the main process does, and tells of it."""
        self.progress.loss = self.world.mean(self.progress.loss)
        checkpoints, step = checkpoints_of(self.config), self.progress.step
        path = checkpoints.save(self.method, self.optimizer, self.progress, self.facts, writes=self.world.is_main)
        if self.world.is_main:
            self.audience.tell(lambda one: one.on_checkpoint(path, step))
        return path

    def save_if_good(self) -> None:
        """Write a checkpoint, unless steps are being skipped: the run may have to go back to before them."""
        if not self.progress.in_a_row or self.progress.step == self.plan.steps:
            self.saved.append(self.save())

    def stop_if(self, asked: bool) -> None:
        """When any process was asked to stop before the last step, save and raise Interrupted; for a callback that
        failed, raise what it raised. None raises before the main one has written: the first that ends counts as failed.
        """
        progress, plan = self.progress, self.plan
        if not self.world.any(asked or self.audience.failure is not None) or progress.step == plan.steps:
            return
        self.settle_bad_files()
        if progress.step % self.checkpoint_every or progress.in_a_row:
            self.save()
        self.world.any(False)
        self.world.from_main(self.audience.raise_failure)
        raise Interrupted(
            f"stopped after step {progress.step} of {plan.steps}, which is saved in {self.config.out}; the same "
            "command goes on from there"
        )

    def settle_bad_files(self) -> None:
        """Tell all processes what any of them could not read, write it down, and stop the run when it is too much."""
        news = self.world.gather(self.bad_files.news)
        for failed in news:
            self.bad_files.found |= failed
        self.bad_files.news = {}
        if self.world.is_main and any(news):
            replace_text(self.config.out / BAD_FILES, self.bad_files.lines())
        self.bad_files.check()

    def summary(self, start: int) -> dict[str, Any]:
        """The numbers of every run's summary; seconds are those of all starts, the speed is that of this one's
        training, from step `start` on."""
        plan, progress = self.plan, self.progress
        total = progress.seconds
        spent = max(total - progress.before, 1e-9)
        return {
            "images": plan.images,
            "steps": progress.step,
            "epochs": plan.epochs,
            "skipped": int(progress.skipped),
            "loss": float(progress.loss),
            "bad_files": len(self.bad_files.found),
            "seconds": total,
            "images_per_second": (progress.step - start) * plan.batch_size / spent,
            "data_wait_share": progress.waited / spent,
        }

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json, and say what is to be said in the end; in the main process."""
        config = self.config
        replace_text(config.out / "summary.json", json.dumps(summary, indent=2))
        said = advice(summary["data_wait_share"], config, self.images)
        if said is not None:
            console.print(said)
        if self.bad_files.found:
            console.print(f"{self.bad_files.describe()}; others took their place, see {config.out / BAD_FILES}")

    def describe_plan(self) -> None:
        """Print what the run's steps, batches and learning rate come to."""
        plan, images, world = self.plan, self.images, self.world
        per_epoch = plan.images / plan.batch_size
        console.print(
            f"{plan.images} images, {plan.steps} steps of {plan.batch_size} = {plan.epochs:.4g} epochs "
            f"({per_epoch:.4g} steps an epoch)"
        )
        if images.others:
            console.print(f"left out, not being images: {images.left_out()}")
        console.print(
            f"effective batch {plan.batch_size} = {world.size} x {world.device} x {self.config.run.accumulation} "
            f"micro-batches of {plan.micro_batch}"
        )
        falls = ", ".join(str(round(share * plan.steps)) for share in plan.lr_drops)
        then = f"a tenth from each of the steps {falls} on" if falls else "down to 0"
        console.print(f"learning rate up to {plan.peak_lr:.3g} over {plan.warmup_steps} steps, then {then}")
        lines = plan.log_every(self.config.run.log_every)
        console.print(f"a line of metrics.jsonl every {lines} steps, a checkpoint every {self.checkpoint_every}")
        if plan.warmup_steps >= plan.steps:
            warn("the warm-up is longer than the run: the learning rate stays below its peak")
        if per_epoch < 1:
            warn(
                f"a step of {plan.batch_size} shows each of the {plan.images} images {1 / per_epoch:.3g} times; "
                "a smaller --batch-size makes more steps of the same work"
            )
        if self.progress.step:
            console.print(f"going on from step {self.progress.step}")
