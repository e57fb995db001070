"""A method in training, for measuring speed and memory of the very loop that trains."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.evaluation.memory import kept_bytes, peak_bytes
from pcae.training.loop import Progress, loop
from pcae.training.randomness import StepRandom, randomness


class Stepper:
    """Made-up images, the same at every step with other masks, or `batches`. It has made one step when it is there.

    Memory is that of steps on the made-up images, which have the size of those in `batches`.
    waits: seconds that each call of `step` waited for data.
    """

    def __init__(
        self,
        method: nn.Module,
        optimizer: torch.optim.AdamW,
        images: Float[Tensor, "batch channels height width"],
        autocast: torch.dtype | None,
        batches: Iterator[tuple[Any, StepRandom]] | None = None,
    ) -> None:
        self.method, self.optimizer, self.images, self.autocast = method, optimizer, images, autocast
        self.batches = batches or self.stream()
        self.progress = Progress(0)
        self.waits: list[float] = []
        self.take_steps(self.stream())

    @property
    def batch(self) -> int:
        """Images of a step."""
        return len(self.images)

    def step(self, steps: int = 1) -> None:
        """Some steps on one micro-batch each."""
        before = self.progress.waited
        self.take_steps(self.batches, steps)
        self.waits.append(self.progress.waited - before)

    def take_steps(self, batches: Iterator[tuple[Any, StepRandom]], steps: int = 1) -> None:
        """Train on the next of `batches`."""
        self.progress.steps += steps
        loop(self.method, batches, self.optimizer, lambda _: 1e-6, self.progress, [], autocast=self.autocast)

    def stream(self) -> Iterator[tuple[Tensor, StepRandom]]:
        """The images with the random numbers of each step."""
        while True:
            yield self.images, randomness(0, self.progress.step, self.batch, self.images.device)

    def peak(self) -> float:
        """Bytes at the peak of a step, of this method's tensors alone."""
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        held = [self.images, *self.method.parameters(), *self.method.buffers(), *states]
        return float(peak_bytes(lambda: self.take_steps(self.stream()), held, self.images.device))

    def kept(self) -> float:
        """Bytes that the forward pass keeps for the backward pass, parameters and images aside."""
        there = [self.images, *self.method.parameters(), *self.method.buffers()]
        images, random = next(self.stream())
        with torch.autocast(images.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            return float(kept_bytes(lambda: self.method(images, random).loss, there))
