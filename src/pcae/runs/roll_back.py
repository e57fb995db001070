"""A run whose steps are skipped one after the other goes back to its last checkpoint, its images in another order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from pcae.settings.recipes import AUTO
from pcae.settings.training import RunSettings
from pcae.terminal import warn
from pcae.training.callbacks import Callback, as_callbacks
from pcae.training.checkpoint import read_header
from pcae.training.distributed import World
from pcae.training.logging import Journal, read_metrics
from pcae.training.loop import Progress
from pcae.training.randomness import seed_of
from pcae.training.trackers.choice import check_trackers

NAME = "roll-back"
"""How the remarks in metrics.jsonl that count roll-backs are named."""

C = TypeVar("C", bound=RunSettings)
R = TypeVar("R")


class RolledBack(Exception):
    """The run has to start again: from the last checkpoint that it `saved`, or as it started where it saved none."""

    def __init__(self, saved: bool) -> None:
        super().__init__()
        self.saved = saved


@dataclass(frozen=True)
class Skips:
    """A watcher of steps that were skipped, their gradients not being finite; every process calls it.

    roll_backs: how often the run went back before. start: the step that it started or went on from. saved: the
    checkpoints that it wrote since.
    """

    config: RunSettings
    roll_backs: int
    start: int
    saved: list[Path]
    journal: Journal
    world: World

    def watch(self, progress: Progress) -> None:
        """Say that steps were skipped since the last look. Raises RolledBack for as many in a row as are not borne,
        ValueError where the run has gone back as often as it may."""
        in_a_row = int(progress.most_in_a_row)
        progress.most_in_a_row = torch.zeros_like(progress.most_in_a_row)
        if not in_a_row:
            return
        run = self.config.run
        said = f"step {progress.step}: {in_a_row} in a row skipped, the gradient not being finite"
        if in_a_row < run.roll_back_after:
            if self.world.is_main:
                warn(f"{said}; the weights stayed as they were")
            return
        if self.roll_backs >= run.most_roll_backs:
            raise ValueError(
                f"{said}; the run gives up after {self.roll_backs} roll-backs (--most-roll-backs). Try a lower "
                f"--base-lr (now {self.config.optimizer.base_lr:g}), --clip-grad 1 or --precision fp32 in another "
                "--out, or look for what is wrong with the images by pcae check-data"
            )
        if self.world.is_main:
            self.write_down(said)
        raise RolledBack(bool(self.saved))

    def write_down(self, said: str) -> None:
        """Say where the run goes back to; in the main process."""
        step = read_header(self.saved[-1])["step"] if self.saved else self.start
        number = self.roll_backs + 1
        sentence = (
            f"{said}; back to step {step}, with the images in another order (roll-back {number} of at most "
            f"{self.config.run.most_roll_backs})"
        )
        self.journal.remark(step, f"{NAME} {number}", sentence)
        warn(sentence)


def count_roll_backs(folder: Path, step: int) -> int:
    """How often the run in a folder has written down that it went back, on its way to a step."""
    remarks = [line for line in read_metrics(folder) if line["step"] <= step and "warning" in line]
    return sum(line["warning"].startswith(NAME) for line in remarks)


def order_of(seed: int, roll_backs: int) -> int:
    """The seed of the images' order after some roll-backs; before the first one the run's own."""
    return seed_of(seed, NAME, roll_backs) if roll_backs else seed


def with_roll_backs(
    attempt: Callable[[C, World, Sequence[Callback]], R],
    config: C,
    world: World,
    callbacks: Sequence[object],
) -> R:
    """What `attempt` returns, which trains from a checkpoint on; it is made again when the run goes back.

    callbacks: what it tells of the run. Raises ValueError, before any work, for what is none, and for trackers that
    cannot be.
    """
    check_trackers(config.run.log_to)
    told = as_callbacks(callbacks)
    while True:
        try:
            return attempt(config, world, told)
        except RolledBack as back:
            config = replace(config, resume=AUTO) if back.saved else config
