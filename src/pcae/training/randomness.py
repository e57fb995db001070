"""Random numbers of the global batch from (seed, step): the same for any number of processes or micro-batches."""

import hashlib
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor


def seed_of(*parts: int | str) -> int:
    """A seed of 63 bits that depends on all of `parts`."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class StepRandom:
    """The randomness of some rows of the global batch of one step: a pure function of (seed, step).

    Every purpose ("mask", "flip", ...) has its own stream, so that methods with the same seed see the same masks.
    `StepRandom(seed, step)` is of the whole batch that it meets. With the `batch_size` of all processes together,
    `part` gives each of them its rows. device: where numbers are drawn; without it, where the images lie.
    """

    seed: int
    step: int
    batch_size: int | None = None
    device: torch.device | None = None
    rows: slice = field(default_factory=lambda: slice(None))

    def uniform(self, purpose: str, *shape: int) -> Float[Tensor, "rows ..."]:
        """Uniform numbers in [0, 1) of `shape` for each of the rows, on the device."""
        assert self.batch_size is not None and self.device is not None
        generator = torch.Generator(self.device).manual_seed(seed_of(self.seed, self.step, purpose))
        return torch.rand(self.batch_size, *shape, generator=generator, device=self.device)[self.rows]

    def part(self, index: int, parts: int) -> "StepRandom":
        """The rows of part `index` of the global batch cut into `parts` equal parts.

        Raises ValueError where the global batch has no size yet.
        """
        if self.batch_size is None:
            raise ValueError("parts are of a batch of known size; use StepRandom(seed, step, batch_size=ALL_IMAGES)")
        size = self.batch_size // parts
        return self.of(index * size, (index + 1) * size)

    def of(self, first: int, end: int) -> "StepRandom":
        """The rows of the global batch from `first` to before `end`."""
        return replace(self, rows=slice(first, end))

    def for_batch(self, rows: int, device: torch.device) -> "StepRandom":
        """The same for a batch of so many images on a device. Raises ValueError when it is of other rows."""
        batch_size = rows if self.batch_size is None else self.batch_size
        own = len(range(*self.rows.indices(batch_size)))
        if own != rows:
            raise ValueError(
                f"these random numbers are of {own} images, the batch has {rows}; StepRandom(seed, step) fits any batch"
            )
        return replace(self, batch_size=batch_size, device=self.device or device)


Randomness = StepRandom | torch.Generator | None
"""Where a method's random numbers come from: said for this step, or drawn from a generator, torch's own if None."""


def random_for(random: Randomness, rows: int, device: torch.device) -> StepRandom:
    """The random numbers of a batch; of a generator a single number is taken, which is their seed.

    Raises ValueError for random numbers of another batch, and for anything else, such as a bare seed.
    """
    if isinstance(random, StepRandom):
        return random.for_batch(rows, device)
    if not isinstance(random, torch.Generator | None):
        raise ValueError(
            f"random is a torch.Generator, a StepRandom(seed, step) or left out, got {random!r}; "
            "a seed alone would hide the same patches at every step"
        )
    where = torch.device("cpu") if random is None else random.device
    seed = torch.randint(2**63 - 1, (), generator=random, device=where)
    return StepRandom(int(seed), 0).for_batch(rows, device)


def randomness(seed: int, step: int, batch_size: int, device: torch.device) -> StepRandom:
    """The randomness of the whole global batch of optimizer step `step`."""
    return StepRandom(seed, step, batch_size, device, slice(0, batch_size))
