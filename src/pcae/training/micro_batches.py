"""Micro-batches as the loop wants them: on the device, mirrored, normalised, each with its share of random numbers."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcae.data.arrays import Cropper
from pcae.data.augment import Normalise, flip
from pcae.data.batches import MicroBatches
from pcae.data.unreadable import BadFiles, Batch
from pcae.training.prefetch import on_device
from pcae.training.randomness import StepRandom, randomness

Labels = Int[Tensor, " images"] | Float[Tensor, "images classes"]
"""The class of each image; or a row of 0 and 1 each, where it may show several."""


class Labelled(NamedTuple):
    """Normalised images and their labels."""

    images: Float[Tensor, "images channels height width"]
    labels: Labels

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.images.device


def feed(
    loader: Iterable[Batch],
    own: MicroBatches,
    normalise: Normalise,
    bad_files: BadFiles,
    finish: Cropper,
    *,
    mirror: bool,
    device: torch.device,
    labels: Labels | None = None,
) -> Iterator[tuple[Tensor | Labelled, StepRandom]]:
    """Normalised images and their random numbers, step by step; what cannot be read counts in `bad_files`.

    own: which images this process reads. finish: makes crops of batches that come without. With the `labels` of all
    images, Labelled batches.
    """
    draws = random_parts(own, finish.crops.seed, device)
    for batch, random in zip(on_device(loader, device), draws, strict=False):
        bad_files.add(batch.failed)
        crops = finish(batch).pixels
        images = normalise(flip(crops, random.uniform("flip")) if mirror else crops)
        yield (images if labels is None else Labelled(images, sent(labels[batch.indices], device))), random


def random_parts(own: MicroBatches, seed: int, device: torch.device) -> Iterator[StepRandom]:
    """The random numbers of a process's micro-batches, one after the other, without end."""
    first = own.rank * own.accumulation
    for step in count(own.start):
        whole = randomness(seed, step, own.batch_size, device)
        yield from (whole.part(first + micro, own.parts) for micro in range(own.accumulation))


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Values on the device; on CUDA from pinned memory, so that the host does not wait for the step before."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)
