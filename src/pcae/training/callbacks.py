"""Who else hears of a run while it trains: callbacks of the caller's, and trackers of experiments."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pcae.terminal import warn

EVENTS = ("on_start", "on_step", "on_warning", "on_checkpoint", "on_end")
"""What is called, by name."""


@dataclass(frozen=True)
class RunFacts:
    """What a run is when it starts or goes on.

    what: what it does, in words. folder: its run folder. config: all settings by name, as in config.yaml. step: the
    optimizer step that it goes on from, 0 at its start. steps: how many it has.
    """

    what: str
    folder: Path
    config: dict[str, Any]
    step: int
    steps: int


class Callback:
    """What hears of a run: derive from it, and write those of its methods that are wanted; they do nothing here.

    All are called in the main process alone. What one of them raises ends the run, with that error, after a checkpoint
    was written: the same call goes on from there.
    """

    def on_start(self, run: RunFacts) -> None:
        """Before the first step, and again each time that the run goes on from a checkpoint."""

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        """For every line of numbers in metrics.jsonl, with the same values: the loss and its like every `log_every`
        optimizer steps and after the last one, and what looks at held-out images, probes and health find."""

    def on_warning(self, step: int, name: str, sentence: str) -> None:
        """When the run warns: of a collapse, or that it goes back to a checkpoint."""

    def on_checkpoint(self, path: Path, step: int) -> None:
        """After a checkpoint was written."""

    def on_end(self, summary: dict[str, Any]) -> None:
        """After the last step, when the weights and summary.json are there."""


class Tracker(Callback):
    """A program that keeps the numbers of many runs. Its failures never end a run.

    pictures: whether it takes pictures; those that the run folder has when `on_end` is called.
    """

    pictures: ClassVar[bool] = False

    def close(self, *, failed: bool) -> None:
        """The last call, when the run ends in any way. failed: by an error, or because it was asked to stop."""


class Adapted(Callback):
    """An object that has some of the methods and is no Callback."""

    def __init__(self, one: object) -> None:
        for name in events_of(one):
            setattr(self, name, getattr(one, name))


def as_callbacks(callbacks: object) -> list[Callback]:
    """Objects with any of a Callback's methods as Callbacks. Raises ValueError for others, and for methods whose names
    begin with on_ and that nothing calls."""
    if not isinstance(callbacks, list | tuple):
        raise ValueError(f"callbacks takes a list, got {callbacks!r}; write callbacks=[...]")
    for one in callbacks:
        check_events(one)
    return [one if isinstance(one, Callback) else Adapted(one) for one in callbacks]


def check_events(one: object) -> None:
    """Raise ValueError for what is no callback, and for a method that would never be called."""
    if isinstance(one, type):
        raise ValueError(f"callback {one.__name__} is a class; give an object of it: {one.__name__}(...)")
    name, odd = type(one).__name__, sorted(set(events_of(one)) - set(EVENTS))
    if odd:
        raise ValueError(f"callback {name} has {odd[0]}, which nothing calls; there are {', '.join(EVENTS)}")
    if not events_of(one):
        raise ValueError(f"callback {one!r} has none of {', '.join(EVENTS)}; derive it from pcae.Callback")


def events_of(one: object) -> list[str]:
    """The names of an object's methods that begin with on_."""
    return [name for name in dir(one) if name.startswith("on_") and callable(getattr(one, name))]


@dataclass
class Audience:
    """Those who hear of a run, in its main process; in the others nobody does.

    trackers: by name; one that fails hears no more. failure: what a callback raised, until the run has been saved.
    """

    callbacks: list[Callback] = field(default_factory=list)
    trackers: dict[str, Tracker] = field(default_factory=dict)
    failure: Exception | None = None

    def tell(self, event: Callable[[Callback], None]) -> None:
        """Tell all of them, the trackers first; nobody any more once a callback has raised."""
        if self.failure is not None:
            return
        self.tell_trackers(event)
        try:
            for one in self.callbacks:
                event(one)
        except Exception as error:
            self.failure = error

    def tell_trackers(self, event: Callable[[Tracker], None]) -> None:
        """Tell the trackers; those that fail are left out from now on, with one warning."""
        for name, tracker in list(self.trackers.items()):
            try:
                event(tracker)
            except Exception as error:  # clients raise errors of every kind
                del self.trackers[name]
                said = " ".join(str(error).split())[:300] or type(error).__name__
                warn(f"{name} takes nothing more of this run: {said}; the run goes on, and metrics.jsonl has it all")

    def raise_failure(self) -> None:
        """Raise what a callback raised, if one did."""
        if self.failure is not None:
            raise self.failure

    def close(self, *, failed: bool) -> None:
        """Have the trackers end."""
        self.tell_trackers(lambda tracker: tracker.close(failed=failed))
        self.trackers = {}
