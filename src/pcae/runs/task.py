"""What every training verb makes of its run: trained to the end, looked at on held-out images, summed up."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pcae.data.unreadable import BadFiles
from pcae.evaluation.accuracy import Tally
from pcae.evaluation.average_precision import Ranked
from pcae.inference.detection import Measured
from pcae.results import RunSummary
from pcae.runs.audience import tell_of_end, told_of
from pcae.runs.run import C, M, TrainingRun
from pcae.terminal import console
from pcae.training.callbacks import Callback
from pcae.training.logging import Journal, best_so_far
from pcae.training.loop import Batch, Progress, Watcher
from pcae.training.randomness import StepRandom
from pcae.training.run_folder import BEST

F = TypeVar("F", bound=Tally | Ranked | Measured)
"""How good a model is on held-out images."""


@dataclass(kw_only=True)
class Task(ABC, Generic[C, M]):
    """A run of a verb. what: what it does, in words for the progress bar. Every process calls the methods."""

    what: ClassVar[str]
    run: TrainingRun[C, M]

    def complete(self, callbacks: Sequence[Callback] = ()) -> RunSummary:
        """Train to the end, or until the run has to go back; returns the summary, which a run that is over has.

        callbacks: are told of it, as the trackers are that the settings name; nobody is of a run that is over.
        """
        run = self.run
        summary = run.finished()
        if summary is None:
            with told_of(run, callbacks):
                summary = self.conclude(run.train(self.what, self.batches(), self.announce, self.watchers))
                if run.world.is_main:
                    run.write_summary(summary)
                run.world.from_main(lambda: tell_of_end(run, summary))
        return RunSummary(summary)

    @abstractmethod
    def batches(self) -> Iterator[tuple[Batch, StepRandom]]:
        """This process's part of the run's batches, from the step to go on from, and their random numbers."""

    @abstractmethod
    def announce(self) -> None:
        """Print, in the main process before the first step, what the run comes to."""

    @abstractmethod
    def watchers(self, journal: Journal) -> list[Watcher]:
        """What watches the run beside its journal, which is open by then."""

    @abstractmethod
    def conclude(self, done: dict[str, Any]) -> dict[str, Any]:
        """Write the weights; returns the summary. done: what every run's summary says."""


@dataclass(kw_only=True)
class Validated(Task[C, M], Generic[C, M, F]):
    """A task that is measured on held-out images while it is trained; the weights that do best there are kept.

    weights_file: what the weights are called in the end. best_by: the figure that says which weights are best, the
    first of these names that there is. best_name: of the best one in the summary. test: the held-out images. source:
    where the weights come from, in words. every: steps between looks. best: the best figure so far. last: the latest.
    """

    weights_file: ClassVar[str]
    best_by: ClassVar[tuple[str, ...]]
    best_name: ClassVar[str]
    test: BadFiles
    classes: list[str]
    source: str
    every: int
    best: float = -1.0
    last: F | None = None

    @abstractmethod
    def measure(self, method: M) -> F:
        """The figures of a method with all of its weights on the held-out images, in float32."""

    @abstractmethod
    def write(self, path: Path, method: M) -> None:
        """Write a method with all of its weights."""

    def described(self) -> dict[str, Any]:
        """What more the summary says of the model."""
        return {}

    def watchers(self, journal: Journal) -> list[Watcher]:
        """The look at the held-out images."""
        run = self.run
        self.best = run.world.from_main(lambda: best_so_far(run.config.out, *self.best_by))
        return [(self.every, lambda progress: self.look(progress, journal))]

    def look(self, progress: Progress, journal: Journal) -> None:
        """Measure, write it down, and keep the weights if they are the best."""
        with progress.no_training():
            figures = self.evaluate().numbers()
            if self.run.world.is_main:
                journal.note({"step": progress.step, **figures})
            score = next((figures[name] for name in self.best_by if name in figures), 0.0)
            if score > self.best:
                self.best = score
                self.save(BEST)

    def evaluate(self) -> F:
        """Measure the weights as they are."""
        self.run.method.eval()
        self.last = self.measure(self.run.whole())
        self.run.method.train()
        return self.last

    def save(self, name: str) -> None:
        """Write the weights as they are; the main process does."""
        whole = self.run.whole()
        if self.run.world.is_main:
            self.write(self.run.config.out / name, whole)

    def conclude(self, done: dict[str, Any]) -> dict[str, Any]:
        """Write the weights, and name the held-out images that could not be read; returns the summary."""
        last = self.last or self.evaluate()
        self.save(self.weights_file)
        if self.run.world.is_main and self.test.found:
            console.print(f"{self.test.describe()}; they were left out of the held-out images")
        return {
            "weights": str(self.run.config.out / self.weights_file),
            "source": self.source,
            "classes": len(self.classes),
            "held_out": last.images,
            **self.described(),
            **last.numbers(),
            self.best_name: self.best,
            **done,
        }
