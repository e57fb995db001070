"""Micro-batches as the loop wants them: on the device, mirrored, normalised, each with its share of random numbers."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcae.data.arrays import Cropper
from pcae.data.augment import Normalise, flip
from pcae.data.unreadable import BadFiles, Batch
from pcae.training.plan import Plan
from pcae.training.prefetch import on_device
from pcae.training.randomness import StepRandom, randomness


class Labelled(NamedTuple):
    """Normalised images and the class of each."""

    images: Float[Tensor, "batch channels height width"]
    labels: Int[Tensor, " batch"]

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.images.device


def feed(
    loader: Iterable[Batch],
    plan: Plan,
    normalise: Normalise,
    bad_files: BadFiles,
    finish: Cropper,
    *,
    seed: int,
    start: int,
    first_part: int,
    accumulation: int,
    mirror: bool,
    device: torch.device,
    labels: Int[Tensor, " images"] | None = None,
) -> Iterator[tuple[Tensor | Labelled, StepRandom]]:
    """Normalised images and their random numbers, from step `start` on; what cannot be read counts in `bad_files`.

    finish: makes crops of batches that come without. With the `labels` of all images, Labelled batches.

    first_part: which of the global batch's equal parts is this process's first; it has `accumulation` in a row.
    """
    own = draws(plan, seed=seed, start=start, first_part=first_part, accumulation=accumulation, device=device)
    for batch, random in zip(on_device(loader, device), own, strict=False):
        bad_files.add(batch.failed)
        crops = finish(batch).pixels
        images = normalise(flip(crops, random.uniform("flip")) if mirror else crops)
        yield (images if labels is None else Labelled(images, sent(labels[batch.indices], device))), random


def draws(
    plan: Plan, *, seed: int, start: int, first_part: int, accumulation: int, device: torch.device
) -> Iterator[StepRandom]:
    """The random numbers of a process's micro-batches, from optimizer step `start` on, without end."""
    parts = plan.batch_size // plan.micro_batch
    for step in count(start):
        whole = randomness(seed, step, plan.batch_size, device)
        yield from (whole.part(first_part + micro, parts) for micro in range(accumulation))


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Values on the device; on CUDA from pinned memory, so that the host does not wait for the step before."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)
