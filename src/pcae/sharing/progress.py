"""How far all processes are with shared work, how fast, and how long they wait for data: one line, and TensorBoard."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcae.sharing.cuts import Brought
from pcae.terminal import LiveLine, console
from pcae.training.distributed import World

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
        return "  ".join([*said, "" if left is None else f"{in_time(left)} left"]).rstrip()


def in_time(seconds: float) -> str:
    """A length of time, to its two largest parts."""
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


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
        self.board: Any = None

    def __enter__(self) -> "Pacer":
        self.show = LiveLine(self.what) if self.world.is_main else None
        return self

    def __exit__(self, *_: object) -> None:
        if self.show is not None:
            self.show.stop()
        if self.board is not None:
            self.board.close()

    def watch(self, loader: Iterable[Brought]) -> Iterator[Brought]:
        """What a loader brings; the time until it does, and the time that is spent on it, are counted."""
        brought, then = iter(loader), time.perf_counter()
        for one in brought:
            came = time.perf_counter()
            yield one
            done = time.perf_counter()
            images = len(one.batch.indices) + len(one.batch.failed) if one.batch else 0
            self.add(images=images, retries=one.retries, waited=in_micros(came - then), busy=in_micros(done - came))
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
        pace = self.pace()
        if self.show is not None:
            self.show(pace.line(self.before + pace.images, self.total))
            if self.told - self.printed > LINE_EVERY:
                self.note(pace)
        return pace

    def pace(self) -> Pace:
        """What all processes did, as far as they have told."""
        waited, busy = self.sums["waited"], self.sums["busy"]
        seconds = time.perf_counter() - self.start
        return Pace(self.sums["images"], seconds, waited / max(waited + busy, 1), self.sums["retries"])

    def note(self, pace: Pace) -> None:
        """A line where there is no terminal, and a point for TensorBoard."""
        self.printed = self.told
        if not console.is_terminal:
            console.print(f"{self.what}: {pace.line(self.before + pace.images, self.total)}")
        if self.log is None:
            return
        if self.board is None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.log))
        for name, value in {"images_per_second": pace.speed, "data_wait_share": pace.waiting}.items():
            self.board.add_scalar(name, value, self.before + pace.images)


def in_micros(seconds: float) -> int:
    """Millionths of a second."""
    return round(seconds * 1e6)
