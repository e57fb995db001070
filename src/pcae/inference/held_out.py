"""How well a classifier does on held-out images, which processes share."""

from collections.abc import Callable, Iterable, Iterator
from functools import reduce as fold
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pcae.data.batches import whole_loader
from pcae.data.tables.several_labels import targets_of
from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.accuracy import Tally, no_images, tally
from pcae.evaluation.average_precision import Ranked, joined
from pcae.model.pretrained import PretrainedFacts
from pcae.terminal import bar
from pcae.training.distributed import World

Watch = Callable[[Tensor, list[int]], None]
"""What is told the logits of a batch, and the places of its images."""
Answers = tuple[Tensor, list[int]]
"""Those two."""


def classify(
    model: Callable[[Tensor], Tensor],
    bad_files: BadFiles,
    facts: PretrainedFacts,
    world: World,
    workers: int = 0,
    batch_size: int = 64,
    watch: Watch | None = None,
) -> Tally | Ranked:
    """How good a classifier is on the images of `bad_files`, which counts those that cannot be read; each process takes
    its share. Ranked where images show any number of classes.

    watch: is told the logits of every batch, and the places of its images. Raises ValueError when too many of them
    cannot be read.
    """
    return judge(answers(model, bad_files, facts, world, workers, batch_size, watch), bad_files, facts, world)


def judge(found: Iterable[Answers], bad_files: BadFiles, facts: PretrainedFacts, world: World) -> Tally | Ranked:
    """How good answers are, of which each process has its share."""
    labels, classes = targets_of(bad_files.images), len(facts.classes or ())
    return (rank_images if facts.multi_label else count_right)(found, labels, classes, world)


def count_right(found: Iterable[Answers], labels: Tensor, classes: int, world: World) -> Tally:
    """What was taken for what, by all processes."""
    total = no_images(classes)
    for logits, places in found:
        total += tally(logits, labels[places])
    return fold(add, world.gather(total))


def rank_images(found: Iterable[Answers], labels: Tensor, classes: int, world: World) -> Ranked:
    """The logits of all images, by all processes."""
    parts = [Ranked(logits, labels[places].bool(), torch.tensor(places)) for logits, places in found]
    return joined(world.gather(joined(parts, classes)), classes)


def answers(
    model: Callable[[Tensor], Tensor],
    bad_files: BadFiles,
    facts: PretrainedFacts,
    world: World,
    workers: int,
    batch_size: int,
    watch: Watch | None,
) -> Iterator[Answers]:
    """The logits of this process's share of the images, batch by batch, and which images these are."""
    with torch.inference_mode():
        for batch in share_of(bad_files, facts, world, "evaluating", workers, batch_size):
            logits = model(batch.pixels.to(world.device)).float().cpu()
            if watch is not None:
                watch(logits, batch.indices)
            yield logits, batch.indices


def share_of(
    bad_files: BadFiles, facts: PretrainedFacts, world: World, what: str, workers: int, batch_size: int = 64
) -> Iterator[Batch]:
    """This process's share of the images that can be read; then all processes know which cannot.

    what: for the bar. Every process calls it, and reads to the end. Raises ValueError, in all of them, when too many
    cannot be read.
    """
    images, size = bad_files.images, facts.encoder.image_size
    batches = np.arange(len(images)) // batch_size  # whole ones, so that none depends on how many processes there are
    chosen = np.flatnonzero(batches % world.size == world.rank).tolist()
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
