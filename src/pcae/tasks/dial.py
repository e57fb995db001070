"""The dial between speed and accuracy: which drop ratio a step of fine-tuning has."""

from dataclasses import dataclass

from pcae.settings.choices import Ramp
from pcae.training.randomness import seed_of
from pcae.training.schedule import drop_ratio_at

GRID_STEP = 0.1
"""The dial draws from multiples of this, so that a compiled model meets few shapes."""


@dataclass(frozen=True, kw_only=True)
class DropSchedule:
    """The drop ratio of every step: 0 at first, up to `high` over a ramp, then `high`.

    With low < high every step draws one of `grid(low, high)`, as far as the ramp has come, by seed and step alone.
    """

    low: float
    high: float
    start_steps: int
    ramp_steps: int
    ramp: Ramp = "cosine"

    @property
    def ratios(self) -> list[float]:
        """All drop ratios that a step may have, ascending."""
        ramp = {self.most(step) for step in range(self.start_steps, self.start_steps + self.ramp_steps)}
        below = {ratio for ratio in ramp if ratio < self.low or self.low == self.high}
        return sorted(below.union(grid(self.low, self.high)))

    def most(self, step: int) -> float:
        """How far the ramp has come at step `step`, from 0."""
        return drop_ratio_at(
            step, target=self.high, start_steps=self.start_steps, ramp_steps=self.ramp_steps, ramp=self.ramp
        )

    def at(self, step: int, seed: int) -> float:
        """The drop ratio of step `step`, from 0, of a run with this seed."""
        most = self.most(step)
        allowed = [ratio for ratio in grid(self.low, self.high) if ratio <= most]
        return allowed[seed_of(seed, step, "drop-ratio") % len(allowed)] if self.low < self.high and allowed else most


def grid(low: float, high: float) -> list[float]:
    """The ratios of the dial: both ends and the multiples of GRID_STEP between them, ascending."""
    tenths = [round(index * GRID_STEP, 2) for index in range(round(1 / GRID_STEP))]
    return sorted({low, high, *(ratio for ratio in tenths if low < ratio < high)})


def parse_drop_ratio(value: float | str) -> tuple[float, float]:
    """Least and most drop ratio of `0.3` or `0:0.4`. Raises ValueError for anything else."""
    try:
        low, high = (float(part) for part in (str(value).split(":") * 2)[:2])
    except ValueError:
        low = high = -1.0
    if not 0 <= low <= high < 1 or str(value).count(":") > 1:
        raise ValueError(f"drop_ratio must be a share in [0, 1) or a range of two, such as 0.3 or 0:0.4, got {value!r}")
    return low, high
