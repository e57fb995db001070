"""Random numbers of the global batch from (seed, step): the same for any number of processes or micro-batches."""

import hashlib
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


def seed_of(*parts: int | str) -> int:
    """A seed of 63 bits that depends on all of `parts`."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class StepRandom:
    """The randomness of some rows of the global batch of one step.

    Every purpose ("mask", "flip", ...) has its own stream, so that methods with the same seed see the same masks.
    """

    seed: int
    step: int
    batch_size: int
    device: torch.device
    rows: slice

    def uniform(self, purpose: str, *shape: int) -> Float[Tensor, "rows ..."]:
        """Uniform numbers in [0, 1) of `shape` for each of the rows, on the device."""
        generator = torch.Generator(self.device).manual_seed(seed_of(self.seed, self.step, purpose))
        return torch.rand(self.batch_size, *shape, generator=generator, device=self.device)[self.rows]

    def part(self, index: int, parts: int) -> "StepRandom":
        """The rows of part `index` of the global batch cut into `parts` equal parts."""
        size = self.batch_size // parts
        return self.of(index * size, (index + 1) * size)

    def of(self, first: int, end: int) -> "StepRandom":
        """The rows of the global batch from `first` to before `end`."""
        return replace(self, rows=slice(first, end))


def randomness(seed: int, step: int, batch_size: int, device: torch.device) -> StepRandom:
    """The randomness of the whole global batch of optimizer step `step`."""
    return StepRandom(seed, step, batch_size, device, slice(0, batch_size))
