"""How well a classifier does on held-out images, while it is trained and at the end."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from pcae.evaluation.accuracy import Tally
from pcae.training.distributed import World
from pcae.training.logging import read_metrics


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
        world: World,
        best: float,
    ) -> None:
        self.method, self.measure, self.note, self.save, self.world = method, measure, note, save, world
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
        if self.world.is_main:
            self.note({"step": step, "top1": found.top1, "top5": found.top5})
        if found.top1 > before:
            self.save()


def best_so_far(run: Path) -> float:
    """The best accuracy that a run has written down; below any where it has none."""
    return max((line["top1"] for line in read_metrics(run) if "top1" in line), default=-1.0)
