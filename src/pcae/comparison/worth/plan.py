"""What is trained in the minutes that are left: pieces by their measured speed, none that would hardly begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from pcae.comparison.worth.budget import BESIDE, FEWEST, FINE_TUNING, Pace
from pcae.comparison.worth.curve import POINTS
from pcae.comparison.worth.rows import Row

What = Literal["pre-training", "fine-tuning"]


@dataclass(frozen=True)
class Piece:
    """Pre-training or fine-tuning of a row, once a seed. most: steps that it is not to exceed."""

    row: Row
    what: What
    pace: Pace
    most: int | None = None

    @property
    def time(self) -> float:
        """Its time, where one full pre-training is 1."""
        if self.what == "pre-training":
            return sum(POINTS)
        return FINE_TUNING if self.row.trained else BESIDE

    def steps(self, unit: float) -> int:
        """Steps of its longest run. unit: seconds of a full pre-training."""
        if self.what == "fine-tuning":
            steps = self.pace.steps(self.time * unit)
            return steps if self.most is None else min(steps, self.most)
        spare = unit * self.time - len(POINTS) * self.pace.beside
        return max(0, int(spare / self.time / self.pace.step))

    def shortest(self, unit: float) -> float:
        """Steps of its shortest run."""
        return self.steps(unit) * (min(POINTS) if self.what == "pre-training" else 1)

    def needs(self) -> float:
        """Seconds of a full pre-training with which its shortest run has FEWEST steps."""
        if self.what == "fine-tuning":
            return (self.pace.beside + FEWEST * self.pace.step) / self.time
        steps = FEWEST / min(POINTS)
        return (len(POINTS) * self.pace.beside + self.time * steps * self.pace.step) / self.time

    def too_slow(self, unit: float) -> str:
        """Why it is left out."""
        share = f"{unit * self.time:.0f} s a seed are too few"
        return f"{self.row.name}: no {self.what}, {share}: a step takes {self.pace.step:.2g} s here"


def unit_of(left: float, waiting: Sequence[Piece]) -> float:
    """Seconds of a full pre-training, equal for all rows. waiting: every piece with every seed that is to come."""
    return left / sum(piece.time for piece in waiting) if waiting else 0.0


def affordable(pieces: Sequence[Piece], seeds: int, left: float, minutes: float) -> tuple[list[Piece], list[str]]:
    """The pieces that make some steps in their share, and why others are left out.

    What lacks most goes first, since it leaves its time to the others; fine-tuning before a pre-training that would
    fit without it, since pre-training is what is asked about. Fine-tuning goes with its pre-training.
    """
    kept, remarks = list(pieces), []
    while kept:
        unit = unit_of(left, kept * seeds)
        slowest = max(kept, key=Piece.needs)
        if slowest.needs() <= unit:
            break
        bare = [piece for piece in kept if piece.what == "pre-training"]
        if len(bare) < len(kept) and slowest in bare and slowest.needs() <= unit_of(left, bare * seeds):
            slowest = max((piece for piece in kept if piece not in bare), key=Piece.needs)
        remarks.append(slowest.too_slow(unit))
        alone = slowest.what == "fine-tuning" or not slowest.row.trained
        kept = [piece for piece in kept if piece is not slowest and (alone or piece.row is not slowest.row)]
    if remarks:
        wanted = max(piece.needs() for piece in pieces) * seeds * sum(piece.time for piece in pieces)
        remarks.append(f"--minutes {ceil(minutes + (wanted - left) / 60)} or more would do for all rows")
    return kept, remarks
