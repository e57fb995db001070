"""The numbers of a run, worked out and checked before the first step."""

import math
from dataclasses import dataclass

import torch

from pcae.settings.bounds import check_bounds
from pcae.settings.intervals import interval_of
from pcae.settings.run import OptimizerConfig, RunConfig
from pcae.training.schedule import learning_rate_at

MOST_STEPS = 1e12
POINTS = 50
"""Lines that the log of a short run has at least, as far as it has steps."""
WORTH_COMPILING = 1_000
"""Steps from which on a GPU gets back the time that compiling takes."""


@dataclass(frozen=True)
class Plan:
    """What a run comes to: optimizer steps, warm-up, peak learning rate and the size of a micro-batch.

    lr_drops: shares of the run after which the learning rate falls to a tenth; without any, it falls by a half cosine.
    """

    images: int
    steps: int
    warmup_steps: int
    peak_lr: float
    batch_size: int
    micro_batch: int
    lr_drops: tuple[float, ...] = ()

    @property
    def epochs(self) -> float:
        """Passes over the images."""
        return self.steps * self.batch_size / self.images

    def steps_of(self, epochs: float) -> int:
        """Steps that so many epochs take, at least one."""
        return max(1, round(epochs * self.images / self.batch_size))

    def steps_every(self, interval: int | float | str) -> int:
        """Steps that an interval of settings comes to, at least one; 0 is never."""
        number, in_epochs = interval_of(interval, never=True)
        return self.steps_of(number) if in_epochs and number else int(number)

    def log_every(self, interval: int | float | str | None) -> int:
        """Steps between lines of a run's log, at most 10 where none are asked for: any run is to have a curve."""
        return max(1, min(10, self.steps // POINTS)) if interval is None else self.steps_every(interval)

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        return learning_rate_at(
            step, steps=self.steps, warmup_steps=self.warmup_steps, peak=self.peak_lr, drops=self.lr_drops
        )


def make_plan(run: RunConfig, optimizer: OptimizerConfig, images: int, processes: int, usual_epochs: int = 300) -> Plan:
    """Work out a run over `images` images, of `usual_epochs` where it has no length of its own.

    Raises ValueError, with the numbers, when it could not be made.
    """
    check_bounds(run)
    if run.epochs is not None and run.steps is not None:
        raise ValueError(f"give epochs or steps, not both (got epochs {run.epochs:g} and steps {run.steps})")
    if run.fully_shard and processes == 1:
        raise ValueError("fully_shard splits weights over processes, got 1; start several or leave it out")
    parts = processes * run.accumulation
    if run.batch_size % parts:
        raise ValueError(
            f"batch_size {run.batch_size} must be a multiple of processes x accumulation, "
            f"{processes} x {run.accumulation}"
        )
    per_epoch = images / run.batch_size
    asked = optimizer.warmup_epochs
    for name, epochs in (("epochs", run.epochs), ("warmup_epochs", asked)):
        if epochs is not None and epochs * per_epoch > MOST_STEPS:
            raise ValueError(f"{name} {epochs:g} are {epochs * per_epoch:g} steps, more than any run can make")
    steps = run.steps or math.ceil((usual_epochs if run.epochs is None else run.epochs) * per_epoch)
    warmup = max(1, steps // 20) if asked is None else round(asked * per_epoch)
    peak = optimizer.base_lr * run.batch_size / 256
    return Plan(images, steps, warmup, peak, run.batch_size, run.batch_size // parts, optimizer.lr_drops or ())


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of matrix products under autocast; None is float32 throughout.

    bf16 on a CPU is only taken when asked for: many CPUs have no fast instructions for it.
    """
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return torch.bfloat16 if precision == "bf16" else None


def compiles(asked: str, steps: int, device: torch.device) -> bool:
    """Whether a run of so many steps has its blocks compiled."""
    return asked == "always" or (asked == "auto" and device.type == "cuda" and steps >= WORTH_COMPILING)
