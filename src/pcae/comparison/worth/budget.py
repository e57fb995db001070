"""The minutes that all of it may take: what is spent is measured, and what remains is shared by what is still to do."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pcae.writing import replace_json

FINE_TUNING = 0.5
"""Time of fine-tuning, where that of pre-training is 1."""
BESIDE = 1 + FINE_TUNING
"""Time of fine-tuning a row that is not pre-trained: what pre-training and fine-tuning have together."""
KEPT_BACK = 5.0
"""Seconds that the table and its page may take."""
FEWEST = 8
"""Steps of the shortest run of a curve with which it is worth while."""


@dataclass
class Clock:
    """Seconds of the budget that are gone: of this start, and of those before, which a file remembers."""

    seconds: float
    path: Path | None = None
    before: float = 0.0
    now: Callable[[], float] = time.perf_counter
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.now()

    def go_on(self, path: Path) -> None:
        """Count what earlier starts took, and remember what this one takes in the same file."""
        self.path = path
        if path.is_file():
            try:
                self.before = float(json.loads(path.read_text("utf-8"))["seconds"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path} is damaged; remove it to have the minutes counted anew") from error

    def spent(self) -> float:
        """Seconds that are gone."""
        return self.before + self.now() - self.began

    def left(self) -> float:
        """Seconds that work may still take; none below 0."""
        return max(0.0, self.seconds - KEPT_BACK - self.spent())

    def remember(self) -> None:
        """Write down what is gone."""
        if self.path is not None:
            replace_json(self.path, {"seconds": round(self.spent(), 2)})


@dataclass
class Pace:
    """How fast runs of a row are: seconds of a step, and of what a run takes beside its steps."""

    step: float
    beside: float = 0.0

    def learn(self, steps: int, trained: float, whole: float) -> None:
        """Take a finished run for the measure. trained: its seconds of training. whole: all seconds that it took."""
        self.step = trained / steps
        self.beside = max(0.0, whole - trained)

    def steps(self, seconds: float) -> int:
        """How many steps fit; 0 where the rest alone takes longer."""
        return max(0, int((seconds - self.beside) / self.step))
