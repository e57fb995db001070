"""How far all processes are with shared work, how fast, and how long they wait for data: one line, and TensorBoard."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pcae.terminal import LiveLine, console, duration
from pcae.training.append_files import Board
from pcae.training.distributed import World

T = TypeVar("T")

TOLD_EVERY = 0.5
"""Seconds after which a process tells the others what it did."""
LINE_EVERY = 60.0
"""Seconds after which a line is printed where there is no terminal, and TensorBoard gets a point."""


@dataclass(frozen=True)
class Pace:
    """What all processes did since the start. images: of these, retries: reads that were tried again. waiting: share of
    the time in which they waited for data.
    """

    images: int
    seconds: float
    waiting: float
    retries: int

    @property
    def speed(self) -> float:
        """Images per second, all processes together."""
        return self.images / max(self.seconds, 1e-9)

    def line(self, done: int, total: int) -> str:
        """How far it is, in words."""
        left = (total - done) / self.speed if self.images else None
        said = [f"{done:,} of {total:,} images", f"{self.speed:,.0f} images/s", f"waiting for data {self.waiting:.0%}"]
        said += [f"{self.retries} reads tried again"] if self.retries else []
        return "  ".join([*said, *([] if left is None else [f"{duration(left)} left"])])


class Pacer:
    """Adds up what all processes do; use it as a context. The main one shows it.

    what: for the line. total: images. before: how many of them were done earlier. log: a folder for TensorBoard, which
    is made for work that takes longer than a line. job: what tells this work from other work of the same processes.
    """

    def __init__(self, what: str, total: int, before: int, world: World, log: Path | None, job: str) -> None:
        self.what, self.total, self.before, self.world, self.log, self.job = what, total, before, world, log, job
        self.start = self.told = self.printed = time.perf_counter()
        self.mine = {"images": 0, "waited": 0, "busy": 0, "retries": 0}
        self.sums = dict(self.mine)
        self.board: Board | None = None

    def __enter__(self) -> "Pacer":
        self.show = LiveLine(self.what) if self.world.is_main else None
        return self

    def __exit__(self, *_: object) -> None:
        if self.show is not None:
            self.show.stop()

    def watch(self, loader: Iterable[T], counts: Callable[[T], Mapping[str, int]]) -> Iterator[T]:
        """What a loader brings; the time until it does, and the time that is spent on it, are counted.

        counts: what else is counted of it.
        """
        then = time.perf_counter()
        for one in loader:
            came = time.perf_counter()
            yield one
            done = time.perf_counter()
            self.add(**counts(one), waited=in_micros(came - then), busy=in_micros(done - came))
            then = done

    def add(self, **more: int) -> None:
        """Count, and now and then tell the others."""
        for name, value in more.items():
            self.mine[name] += value
        if time.perf_counter() - self.told > TOLD_EVERY:
            self.tell()

    def tell(self) -> Pace:
        """Tell the others, ask for what all did, and show it."""
        self.told = time.perf_counter()
        for name, value in self.mine.items():
            self.sums[name] = self.world.count(f"{name} in {self.job}", value)
            self.mine[name] = 0
        waited, busy, seconds = self.sums["waited"], self.sums["busy"], self.told - self.start
        pace = Pace(self.sums["images"], seconds, waited / max(waited + busy, 1), self.sums["retries"])
        if self.show is not None:
            self.show(pace.line(self.before + pace.images, self.total))
            if self.told - self.printed > LINE_EVERY:
                self.note(pace)
        return pace

    def note(self, pace: Pace) -> None:
        """A line where there is no terminal, and a point for TensorBoard."""
        self.printed = self.told
        if not console.is_terminal:
            console.print(f"{self.what}: {pace.line(self.before + pace.images, self.total)}")
        if self.log is None:
            return
        done = self.before + pace.images
        self.board = self.board or Board(self.log, self.before)
        self.board.number("images_per_second", pace.speed, done)
        self.board.number("data_wait_share", pace.waiting, done)


def in_micros(seconds: float) -> int:
    """Millionths of a second."""
    return round(seconds * 1e6)
