"""Means of what was measured for each seed and image, how sure they are, and which of two is larger."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

LEFT_OUT = ("section", "claim")
"""What stands with the claim, not with its cases."""


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


@dataclass(frozen=True, kw_only=True)
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
    return Verdict(
        section=section,
        claim=claim,
        case=case,
        larger=estimate(larger).mean,
        smaller=estimate(smaller).mean,
        difference=difference,
        holds=difference.mean > 2 * difference.error if difference.known else None,
    )


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
