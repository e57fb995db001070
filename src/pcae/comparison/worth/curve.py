"""What more time would bring: accuracy by doublings of the time, drawn on to ten times, and how sure that is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from pcae.comparison.worth.paired import Sure, sure

POINTS = (0.25, 0.5, 1.0)
"""Shares of a row's time after which it is measured, each by a run of its own, whose rate falls to 0 at its end."""
TIMES = 10
"""So many times the time is what is asked about."""


@dataclass(frozen=True)
class Outlook:
    """What TIMES the time would bring, as a share of the images, and what it may well bring at least and at most.

    rises: whether it has surely gained up to its end.
    """

    gain: float
    low: float
    high: float
    rises: bool

    def words(self) -> str:
        """In points, and how sure that is."""
        gain, low, high = (round(100 * value) for value in (self.gain, self.low, self.high))
        said = f"{TIMES} times the time: about {gain:+d} points, anything from {low:+d} to {high:+d}"
        return said if high - low <= max(2, abs(gain)) else f"{said}: not sure"


def outlook(
    points: Mapping[float, Float[NDArray, "seeds images"]], there: Bool[NDArray, "seeds images"]
) -> Outlook | None:
    """What ten times the time would bring; None with fewer than two points.

    points: by share of the time, whether each image was right (1 or 0). The gain of a doubling, between the first and
    the last point, is drawn on as it is. It may as well be that of the last doubling alone, each known as well as
    images and seeds allow, or the curve is level from here on: what any of these allows is in the range.
    """
    shares = sorted(points)
    if len(shares) < 2 or not there.any():
        return None
    last, accuracy = shares[-1], float(points[shares[-1]][there].mean())
    slopes = [per_doubling(points, first, last, there) for first in dict.fromkeys((shares[0], shares[-2]))]
    onward = [slope.times(math.log2(TIMES)) for slope in slopes]
    least, most = min(one.low for one in onward), max(one.high for one in onward)
    within = np.clip([onward[0].mean, min(least, 0.0), max(most, 0.0)], -accuracy, 1 - accuracy)
    return Outlook(*map(float, within), rises=least > 0)


def per_doubling(
    points: Mapping[float, Float[NDArray, "seeds images"]],
    first: float,
    last: float,
    there: Bool[NDArray, "seeds images"],
) -> Sure:
    """What a doubling of the time brought between two points."""
    return sure(points[last] - points[first], there).times(1 / math.log2(last / first))
