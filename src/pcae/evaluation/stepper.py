"""A method in training on made-up images, for measuring speed and memory of the very loop that trains."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.evaluation.memory import kept_bytes, peak_bytes
from pcae.training.loop import Progress, loop
from pcae.training.randomness import Draw, randomness


class Stepper:
    """The same images at every step, with other masks. It has made one step when it is there."""

    def __init__(
        self,
        method: nn.Module,
        optimizer: torch.optim.AdamW,
        images: Float[Tensor, "batch channels height width"],
        autocast: torch.dtype | None,
    ) -> None:
        self.method, self.optimizer, self.images, self.autocast = method, optimizer, images, autocast
        self.progress = Progress(0)
        self.step()

    @property
    def batch(self) -> int:
        """Images of a step."""
        return len(self.images)

    def step(self) -> None:
        """One step on one micro-batch."""
        self.progress.steps += 1
        loop(self.method, self.stream(), self.optimizer, lambda _: 1e-6, self.progress, [], autocast=self.autocast)

    def stream(self) -> Iterator[tuple[Tensor, Draw]]:
        """The images with the draw of each step."""
        while True:
            yield self.images, randomness(0, self.progress.step, self.batch, self.images.device)

    def peak(self) -> float:
        """Bytes at the peak of a step, of this method's tensors alone."""
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        held = [self.images, *self.method.parameters(), *self.method.buffers(), *states]
        return float(peak_bytes(self.step, held, self.images.device))

    def kept(self) -> float:
        """Bytes that the forward pass keeps for the backward pass, parameters and images aside."""
        there = [self.images, *self.method.parameters(), *self.method.buffers()]
        images, draw = next(self.stream())
        with torch.autocast(images.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            return float(kept_bytes(lambda: self.method(images, draw).loss, there))
