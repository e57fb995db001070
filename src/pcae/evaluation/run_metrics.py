"""metrics.jsonl in one pass: curves thin enough to draw, and the last value of every number."""

import json
import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

MOST_POINTS = 500
"""Points of a curve, however long the run is."""


class Points(NamedTuple):
    """Values of neighbouring steps as one: the middle of the steps; of the finite values their mean and bounds, nan
    where there are none."""

    steps: Float[np.ndarray, " points"]
    means: Float[np.ndarray, " points"]
    lows: Float[np.ndarray, " points"]
    highs: Float[np.ndarray, " points"]


@dataclass
class Curve:
    """A number by step, as it was written down."""

    steps: array = field(default_factory=lambda: array("d"))
    values: array = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        """Append a value."""
        self.steps.append(step)
        self.values.append(value)

    @property
    def width(self) -> int:
        """Values that a point holds: the least power of two by which there are no more than MOST_POINTS points."""
        return 1 << max(0, math.ceil(len(self.values) / MOST_POINTS) - 1).bit_length()

    @property
    def last(self) -> float:
        """The last value."""
        return self.values[-1]

    @property
    def finite(self) -> Float[np.ndarray, " finite"]:
        """The values that are numbers."""
        values = np.asarray(self.values)
        return values[np.isfinite(values)]

    @property
    def highest(self) -> float:
        """The largest finite value; -inf where there is none."""
        return float(self.finite.max(initial=-math.inf))

    def points(self) -> Points:
        """The curve as it is drawn, with at most MOST_POINTS points."""
        lack = (0, -len(self.values) % self.width)
        steps = np.pad(np.asarray(self.steps), lack, "edge").reshape(-1, self.width)
        values = np.pad(np.asarray(self.values), lack, constant_values=math.nan).reshape(-1, self.width)
        known = np.ma.masked_invalid(values)
        bounds = (part.filled(math.nan) for part in (known.mean(1), known.min(1), known.max(1)))
        return Points((steps[:, 0] + steps[:, -1]) / 2, *bounds)


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
            row = whole_json(line)
            if row is not None and isinstance(row.get("step"), int):
                metrics.take(row)
            elif line.endswith("\n"):
                metrics.unreadable += 1
    return metrics


def whole_json(text: str) -> dict[str, Any] | None:
    """The names and values in JSON; None where it is not whole."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
