"""Means over held-out images and seeds, and how sure they are: both are drawn, and both count."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from pcae.comparison.worth.student import quantile
from pcae.evaluation.estimates import LEVEL

WANTED = 0.03
"""How far from the truth a difference may be that is worth knowing, as a share."""


@dataclass(frozen=True)
class Sure:
    """A mean, and half the width of its interval (95 %); infinite where a single image or nothing was looked at.

    images: different ones. seeds: how many. Where there is one seed, nothing is known of the spread over seeds.
    """

    mean: float
    half: float
    images: int
    seeds: int

    @property
    def low(self) -> float:
        """The least that it may well be."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The most that it may well be."""
        return self.mean + self.half

    def times(self, factor: float) -> "Sure":
        """The same of so many times the values."""
        return Sure(factor * self.mean, abs(factor) * self.half, self.images, self.seeds)


def sure(values: Float[NDArray, "seeds images"], there: Bool[NDArray, "seeds images"]) -> Sure:
    """The mean of the values that are there, with an interval over images and seeds.

    The variance of the mean is the two-way clustered one: that of sums over each image, plus that of sums over each
    seed, less that of single values, which is in both (Cameron, Gelbach and Miller 2011). Its degrees of freedom are
    Satterthwaite's. So it counts that three seeds are few, and that an image is no new one in every seed. Where all
    values are one, what was never seen may still be there: `unseen`.
    """
    seeds, images = int(there.any(axis=1).sum()), int(there.any(axis=0).sum())
    count = int(there.sum())
    if not count:
        return Sure(math.nan, math.inf, 0, 0)
    mean = float(values[there].mean())
    off = np.where(there, values - mean, 0.0)
    by_image = spread(off.sum(axis=0), images) / count**2
    by_seed = spread(off.sum(axis=1), seeds) / count**2
    alone = spread(off[there], count) / count**2
    variance = max(by_image + by_seed - (alone if seeds > 1 else 0.0), by_image, by_seed)
    if images < 2:
        return Sure(mean, math.inf, images, seeds)
    if variance == 0:
        return Sure(mean, unseen(images), images, seeds)
    freedom = variance**2 / (by_image**2 / (images - 1) + by_seed**2 / max(seeds - 1, 1))
    return Sure(mean, quantile((1 + LEVEL) / 2, freedom) * math.sqrt(variance), images, seeds)


def unseen(images: int) -> float:
    """The largest share of images that may well be otherwise where none of so many is; about 3 / images."""
    return 1 - (1 - LEVEL) ** (1 / images)


def spread(sums: Float[NDArray, " groups"], groups: int) -> float:
    """The variance of a total over independent groups, by their sums; 0 of a single group, which tells none."""
    return float((sums**2).sum()) * groups / (groups - 1) if groups > 1 else 0.0


def more_images(found: Sure, wanted: float = WANTED) -> int:
    """How many more held-out images it would take until the interval is `wanted` to each side, as far as images make
    it wide; rounded up to two digits."""
    if found.half <= wanted:
        return 0
    if not math.isfinite(found.half):
        return math.ceil(1 / wanted**2)
    exact = found.images * ((found.half / wanted) ** 2 - 1)
    step = 10 ** max(math.floor(math.log10(max(exact, 1))) - 1, 0)
    return math.ceil(exact / step) * step
