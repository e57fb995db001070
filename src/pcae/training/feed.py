"""Micro-batches as the loop wants them: on the device, mirrored and normalised, each with its part of the draw."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from pcae.data.augment import Normalise, flip
from pcae.data.unreadable import BadFiles, Batch
from pcae.training.plan import Plan
from pcae.training.randomness import Draw, randomness


def feed(
    loader: Iterable[Batch],
    numbers: Plan,
    normalise: Normalise,
    bad_files: BadFiles,
    *,
    seed: int,
    start: int,
    first_part: int,
    accumulation: int,
    mirror: bool,
    device: torch.device,
) -> Iterator[tuple[Tensor, Draw]]:
    """Normalised images and their draw, from optimizer step `start` on; what cannot be read counts in `bad_files`.

    first_part: which of the global batch's equal parts is this process's first; it has `accumulation` in a row.
    """
    parts = numbers.batch_size // numbers.micro_batch
    for index, batch in enumerate(loader):
        bad_files.add(batch.failed)
        step, micro = divmod(index, accumulation)
        draw = randomness(seed, start + step, numbers.batch_size, device).part(first_part + micro, parts)
        here = batch.pixels.to(device, non_blocking=True)
        yield normalise(flip(here, draw.uniform("flip")) if mirror else here), draw
