"""How well a classifier does on held-out images, while it is trained and at the end."""

from collections.abc import Callable, Iterator
from functools import reduce as fold
from operator import add
from pathlib import Path

import torch
from torch import Tensor, nn

from pcae.commands.terminal import bar
from pcae.data.batches import Follow, whole_loader
from pcae.data.unreadable import BadFiles, Batch
from pcae.evaluation.accuracy import Tally, no_images, tally
from pcae.model.pretrained import PretrainedFacts
from pcae.training.distributed import World
from pcae.training.journal import read_metrics


def count_right(
    model: Callable[[Tensor], Tensor],
    bad_files: BadFiles,
    facts: PretrainedFacts,
    here: World,
    workers: int = 0,
    batch_size: int = 64,
) -> Tally:
    """Classify the images of `bad_files`, which counts those that cannot be read; each process takes its share.

    Raises ValueError when too many of them cannot be read.
    """
    labels, total = torch.tensor(bad_files.images.labels), no_images(len(facts.classes or ()))
    with torch.inference_mode():
        for batch in share_of(bad_files, facts, here, "evaluating", workers, batch_size):
            total += tally(model(batch.pixels.to(here.device)).float().cpu(), labels[batch.indices])
    return fold(add, here.gather(total))


def share_of(
    bad_files: BadFiles, facts: PretrainedFacts, here: World, what: str, workers: int, batch_size: int = 64
) -> Iterator[Batch]:
    """This process's share of the images that can be read; then all processes know which cannot.

    what: for the bar. Every process calls it, and reads to the end. Raises ValueError, in all of them, when too many
    cannot be read.
    """
    images, size, failed = bad_files.images, facts.encoder.image_size, {}
    chosen = range(here.rank, len(images), here.size)
    follow: Follow = bar(what) if here.is_main else iter
    for batch in follow(whole_loader(images, size, chosen, batch_size, workers, facts.crop_pct)):
        failed |= batch.failed
        if batch.indices:
            yield batch
    for some in here.gather(failed):
        bad_files.add(some)
    bad_files.check()


class Validation:
    """A watcher of a fine-tuning run: accuracy on held-out images, written down; the best weights, kept.

    save: writes the weights as they are; every process calls it. note: writes numbers of a step down.
    """

    def __init__(
        self,
        method: nn.Module,
        measure: Callable[[], Tally],
        note: Callable[[dict[str, int | float]], None],
        save: Callable[[], None],
        here: World,
        best: float,
    ) -> None:
        self.method, self.measure, self.note, self.save, self.here = method, measure, note, save, here
        self.best = best
        self.last: Tally | None = None

    def count(self) -> Tally:
        """Evaluate the weights as they are. Every process calls it."""
        self.method.eval()
        self.last = self.measure()
        self.method.train()
        return self.last

    def look(self, step: int) -> None:
        """Evaluate, write it down and keep the weights if they are the best. Every process calls it."""
        found, before = self.count(), self.best
        self.best = max(before, found.top1)
        if self.here.is_main:
            self.note({"step": step, "top1": found.top1, "top5": found.top5})
        if found.top1 > before:
            self.save()


def best_so_far(run: Path) -> float:
    """The best accuracy that a run has written down; below any where it has none."""
    return max((line["top1"] for line in read_metrics(run) if "top1" in line), default=-1.0)
