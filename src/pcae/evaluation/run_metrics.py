"""metrics.jsonl in one pass: curves thin enough to draw, and the last value of every number."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_POINTS = 500
"""Points of a curve, however long the run is."""


@dataclass
class Point:
    """Values of neighbouring steps as one; mean, low and high are those of the finite ones."""

    first: int
    last: int
    count: int = 0
    finite: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @property
    def step(self) -> float:
        """The middle of its steps."""
        return (self.first + self.last) / 2

    @property
    def mean(self) -> float:
        """Mean of the finite values; nan where there are none."""
        return self.total / self.finite if self.finite else math.nan

    def add(self, step: int, value: float) -> None:
        """Take a value in."""
        self.last, self.count = step, self.count + 1
        if math.isfinite(value):
            self.finite, self.total = self.finite + 1, self.total + value
            self.low, self.high = min(self.low, value), max(self.high, value)

    def joined(self, other: "Point") -> "Point":
        """This point and the next one as one."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        count, finite = self.count + other.count, self.finite + other.finite
        return Point(self.first, other.last, count, finite, self.total + other.total, low, high)


@dataclass
class Curve:
    """A number by step, of at most MOST_POINTS points: when there would be more, each two neighbours become one.

    width: values that a point holds. start, last: the first and the last value.
    """

    points: list[Point] = field(default_factory=list)
    width: int = 1
    start: float = math.nan
    last: float = math.nan

    def add(self, step: int, value: float) -> None:
        """Append a value."""
        if not self.points:
            self.start = value
        if not self.points or self.points[-1].count == self.width:
            if len(self.points) == MOST_POINTS:
                pairs = zip(self.points[::2], self.points[1::2], strict=True)
                self.points, self.width = [one.joined(next_one) for one, next_one in pairs], 2 * self.width
            self.points.append(Point(step, step))
        self.points[-1].add(step, value)
        self.last = value

    @property
    def values(self) -> int:
        """Values that it was given."""
        return sum(point.count for point in self.points)

    @property
    def odd(self) -> int:
        """Values among them that are not finite."""
        return sum(point.count - point.finite for point in self.points)

    @property
    def highest(self) -> float:
        """The largest finite value; -inf where there is none."""
        return max((point.high for point in self.points), default=-math.inf)


@dataclass
class Metrics:
    """What a run wrote down. step: the last one. warnings: sentences by what they are of. unreadable: lines that are
    none, but for a last one that was cut."""

    curves: dict[str, Curve] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    step: int = 0
    unreadable: int = 0

    def take(self, row: dict[str, Any]) -> None:
        """Put a line's numbers at the end of their curves."""
        self.step = row["step"]
        if isinstance(row.get("warning"), str):
            self.warnings[row["warning"]] = str(row.get("says"))
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                self.curves.setdefault(name, Curve()).add(self.step, float(value))

    def last(self, start: str = "") -> dict[str, float]:
        """The last value of every number whose name begins so, by the rest of the name."""
        return {name.removeprefix(start): curve.last for name, curve in self.curves.items() if name.startswith(start)}


def read_curves(path: Path) -> Metrics:
    """The numbers in a file of JSON lines; none where it is not there. NaN and Infinity are numbers too."""
    metrics = Metrics()
    if not path.is_file():
        return metrics
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            row = row_of(line)
            if row is not None:
                metrics.take(row)
            elif line.endswith("\n"):
                metrics.unreadable += 1
    return metrics


def row_of(line: str) -> dict[str, Any] | None:
    """The numbers of a line; None where it is not whole."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
