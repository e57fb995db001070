"""The training loop: a batch, its random numbers, a loss and signals. It knows nothing of any method."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pcae.training.optimizer import set_learning_rate, take_step
from pcae.training.randomness import StepRandom


@dataclass(frozen=True)
class StepResult:
    """What a method makes of a batch: the loss to go down, and detached signals that are never read inside the step."""

    loss: Float[Tensor, ""]
    signals: dict[str, Float[Tensor, ""]] = field(default_factory=dict)


@dataclass
class Progress:
    """Where a run stands after an optimizer step, for methods and watchers. Tensors stay on the device until read.

    step: optimizer steps so far, of `steps`; in a method's after_step, the one just made, counted from 0.
    taken: whether the last one moved the weights. skipped: how many did not. in_a_row: those that did not since one
    last did; most_in_a_row: the most of them since somebody last looked.
    loss, signals: means over the micro-batches of this process.
    waited, aside: seconds spent waiting for data, and on looks and probes, since the loop began. before: seconds of
    training before it went on.
    """

    steps: int
    step: int = 0
    learning_rate: float = 0.0
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))
    grad_norm: Tensor = field(default_factory=lambda: torch.zeros(()))
    taken: Bool[Tensor, ""] = field(default_factory=lambda: torch.ones((), dtype=torch.bool))
    skipped: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    in_a_row: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    most_in_a_row: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    signals: dict[str, Tensor] = field(default_factory=dict)
    waited: float = 0.0
    aside: float = 0.0
    before: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included, but for what it cost, and for looks and
        probes."""
        return self.before + time.perf_counter() - self.began - self.aside

    def count_skipped(self) -> None:
        """Count the last step if it was skipped; on its device, so that nothing waits."""
        device, skipped = self.taken.device, ~self.taken
        self.skipped = self.skipped.to(device) + skipped
        self.in_a_row = (self.in_a_row.to(device) + 1) * skipped
        self.most_in_a_row = self.most_in_a_row.to(device).maximum(self.in_a_row)

    @contextmanager
    def no_training(self) -> Iterator[None]:
        """What is done here counts in no speed."""
        started = time.perf_counter()
        yield
        self.aside += time.perf_counter() - started


class Batch(Protocol):
    """Images, with labels or without, of some rows of the global batch."""

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        ...


class Method(Protocol):
    """A self-supervised method or a supervised task."""

    def forward(self, batch: Any, random: StepRandom) -> StepResult:
        """The loss of some rows of the global batch."""
        ...

    def after_step(self, progress: Progress) -> None:
        """Called once per optimizer step; `progress.taken` says on the device whether the weights moved."""
        ...


Watcher = tuple[int, Callable[[Progress], None]]
"""Every how many steps (and after the last one), and what to call."""


def loop(
    method: nn.Module,
    batches: Iterator[tuple[Batch, StepRandom]],
    optimizer: torch.optim.AdamW,
    schedule: Callable[[int], float],
    progress: Progress,
    watchers: list[Watcher],
    *,
    accumulation: int = 1,
    clip_grad: float | None = None,
    autocast: torch.dtype | None = None,
) -> None:
    """Train from `progress.step` to `progress.steps`. `batches` yields `accumulation` micro-batches a step."""
    core = cast(Method, method.module if isinstance(method, DistributedDataParallel) else method)
    method.train()
    while progress.step < progress.steps:
        progress.learning_rate = schedule(progress.step)
        set_learning_rate(optimizer, progress.learning_rate)
        results = [
            backward(method, batches, progress, accumulation, autocast, last=micro == accumulation - 1)
            for micro in range(accumulation)
        ]
        progress.grad_norm, progress.taken = take_step(optimizer, clip_grad)
        core.after_step(progress)
        progress.count_skipped()
        progress.step += 1
        progress.loss = torch.stack([result.loss for result in results]).mean()
        progress.signals = {
            name: torch.stack([result.signals[name] for result in results]).mean() for name in results[0].signals
        }
        for every, watch in watchers:
            if progress.step % every == 0 or progress.step == progress.steps:
                watch(progress)


def backward(
    method: nn.Module,
    batches: Iterator[tuple[Batch, StepRandom]],
    progress: Progress,
    accumulation: int,
    autocast: torch.dtype | None,
    *,
    last: bool,
) -> StepResult:
    """Loss and gradient of the next micro-batch; processes exchange gradients at the last one of a step only, but at
    each of them where weights are split."""
    started = time.perf_counter()
    batch, random = next(batches)
    progress.waited += time.perf_counter() - started
    distributed = isinstance(method, DistributedDataParallel)
    with method.no_sync() if distributed and not last else nullcontext():
        with torch.autocast(batch.device.type, dtype=autocast, enabled=autocast is not None):
            result = method(batch, random)
        # a loss that is not finite makes every gradient so, on all processes, and the step is skipped
        weight = torch.where(result.loss.detach().isfinite(), 1 / accumulation, torch.nan)
        result.loss.backward(weight.to(result.loss.dtype))
    return StepResult(result.loss.detach(), result.signals)
