"""How well a classifier does on held-out images, which processes share."""

from collections.abc import Callable, Iterator
from functools import reduce as fold
from operator import add
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pcae.data.batches import whole_loader
from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.accuracy import Tally, no_images, tally
from pcae.model.pretrained import PretrainedFacts
from pcae.terminal import bar
from pcae.training.distributed import World


def count_right(
    model: Callable[[Tensor], Tensor],
    bad_files: BadFiles,
    facts: PretrainedFacts,
    world: World,
    workers: int = 0,
    batch_size: int = 64,
) -> Tally:
    """Classify the images of `bad_files`, which counts those that cannot be read; each process takes its share.

    Raises ValueError when too many of them cannot be read.
    """
    labels, total = torch.tensor(bad_files.images.labels), no_images(len(facts.classes or ()))
    with torch.inference_mode():
        for batch in share_of(bad_files, facts, world, "evaluating", workers, batch_size):
            total += tally(model(batch.pixels.to(world.device)).float().cpu(), labels[batch.indices])
    return fold(add, world.gather(total))


def share_of(
    bad_files: BadFiles, facts: PretrainedFacts, world: World, what: str, workers: int, batch_size: int = 64
) -> Iterator[Batch]:
    """This process's share of the images that can be read; then all processes know which cannot.

    what: for the bar. Every process calls it, and reads to the end. Raises ValueError, in all of them, when too many
    cannot be read.
    """
    images, size = bad_files.images, facts.encoder.image_size
    chosen = range(world.rank, len(images), world.size)
    loader = whole_loader(images, size, chosen, batch_size, workers, facts.crop_pct)
    return (batch for batch in read_share(loader, bad_files, world, what) if batch.indices)


def read_share(loader: DataLoader, bad_files: BadFiles, world: World, what: str) -> Iterator[Any]:
    """What a loader of this process's share gives; then all processes know what cannot be read.

    Every process calls it, and reads to the end. Raises ValueError, in all of them, when too much cannot be read.
    """
    failed = {}
    for read in (bar(what) if world.is_main else iter)(loader):
        failed |= read.failed
        yield read
    for some in world.gather(failed):
        bad_files.add(some)
    bad_files.check()
