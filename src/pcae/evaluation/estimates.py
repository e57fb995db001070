"""Means and shares of what was measured, how sure they are, and which of two is larger."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

LEFT_OUT = ("section", "claim")
"""What stands with the claim, not with its cases."""
Interval = tuple[float, float]
"""The least and the most that a number may well be."""
LEVEL = 0.95
DRAWS = 1000
"""Times that images are drawn again, as many as there are, with replacement."""
SEED = 0
"""Of the draws."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and its standard errors: over images (each averaged over seeds), over seeds (each averaged over images).

    An error is None where there is one image or one seed only.
    """

    mean: float
    over_images: float | None
    over_seeds: float | None

    @property
    def known(self) -> bool:
        """Whether there is a standard error."""
        return self.over_images is not None or self.over_seeds is not None

    @property
    def error(self) -> float:
        """The larger standard error; 0 where neither is known."""
        return max(self.over_images or 0.0, self.over_seeds or 0.0)


def estimate(values: Float[Tensor, "seeds images"]) -> Estimate:
    """The mean of what was measured, with its standard errors."""
    values = values.double()
    return Estimate(
        mean=values.mean().item(),
        over_images=standard_error(values.mean(dim=0)),
        over_seeds=standard_error(values.mean(dim=1)),
    )


def standard_error(values: Float[Tensor, " count"]) -> float | None:
    """Standard deviation of the mean of independent values; None for a single one."""
    return values.std().item() / math.sqrt(len(values)) if len(values) > 1 else None


def by_place(values: Float[Tensor, "seeds images ..."]) -> Any:
    """Estimates as JSON has them, in lists as deep as there are further axes."""
    if values.ndim == 2:
        return asdict(estimate(values))
    return [by_place(values[:, :, place]) for place in range(values.shape[2])]


@dataclass(frozen=True)
class Verdict:
    """Whether one thing is larger than another, image by image, by more than twice the standard error.

    holds: None where there is no standard error, of one image and one seed.
    section: of the paper. case: where it was looked at. difference: larger - smaller; the claim says it is positive.
    """

    section: str
    claim: str
    case: str
    larger: float
    smaller: float
    difference: Estimate
    holds: bool | None


def judge(
    section: str,
    claim: str,
    case: str,
    larger: Float[Tensor, "seeds images"],
    smaller: Float[Tensor, "seeds images"],
) -> Verdict:
    """What the measurement says of a claim that `larger` is larger."""
    difference = estimate(larger - smaller)
    holds = difference.mean > 2 * difference.error if difference.known else None
    return Verdict(section, claim, case, estimate(larger).mean, estimate(smaller).mean, difference, holds)


def by_claim(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Each claim once, with its cases; it holds where it holds in all of them, and None where nothing is known."""
    claims: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        claims.setdefault((verdict.section, verdict.claim), []).append(verdict)
    return [
        {
            "section": section,
            "claim": claim,
            "holds": None if any(case.holds is None for case in cases) else all(case.holds for case in cases),
            "cases": [{name: value for name, value in asdict(case).items() if name not in LEFT_OUT} for case in cases],
        }
        for (section, claim), cases in claims.items()
    ]


def wilson(right: int, images: int) -> Interval:
    """Wilson's interval of a share of images, such as of those that are right (Wilson 1927). Raises ValueError for no
    images."""
    if not images:
        raise ValueError("a share of 0 images has no interval; give at least one image")
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, scale = right / images, 1 + z**2 / images
    middle = (share + z**2 / (2 * images)) / scale
    half = z * math.sqrt(share * (1 - share) / images + z**2 / (4 * images**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def percentiles(values: Sequence[float] | NDArray[np.floating]) -> Interval:
    """The interval between which the middle of drawn values lies; those that are nan do not count."""
    low, high = np.nanpercentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def balanced_accuracy_interval(right: NDArray[np.integer], images: NDArray[np.integer]) -> Interval:
    """Of the mean recall over classes, by drawing the images again; classes that a draw lacks do not count in it.

    right, images: of each class. Drawing images is drawing how many are right and wrong of each class.
    """
    total, cells = int(images.sum()), np.concatenate([right, images - right])
    drawn = np.random.default_rng(SEED).multinomial(total, cells / total, size=DRAWS)
    hits, misses = np.split(drawn, 2, axis=1)
    there = hits + misses
    recalls = np.divide(hits, there, out=np.full(hits.shape, np.nan), where=there > 0)
    return percentiles(np.nanmean(recalls, axis=1))


def in_percent(value: float, interval: Sequence[float] | None = None) -> str:
    """A share with its interval, such as 79.3 % (76.6\u201381.7)."""
    around = "" if interval is None else f" ({100 * interval[0]:.1f}\u2013{100 * interval[1]:.1f})"
    return f"{100 * value:.1f} %{around}"
