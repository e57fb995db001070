"""How well a classifier ranks images that show any number of classes: average precision, by class and on the mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from pcae.evaluation.estimates import SEED, Interval, percentiles

DRAWS = 200
"""Times that images are drawn again, as many as there are, with replacement."""
AT_ONCE = 2_000_000
"""Images in all draws that are counted together: memory of some 100 MB."""


@dataclass(frozen=True)
class Ranked:
    """What a classifier says of images, and what they show; `joined` of parts of the data.

    scores: a higher one says that a class is there. places: of the images among all.
    """

    scores: Float[Tensor, "images classes"]
    labels: Bool[Tensor, "images classes"]
    places: Int[Tensor, " images"]

    @property
    def images(self) -> int:
        """How many there were."""
        return len(self.places)

    def precisions(self, weights: Shaped[Tensor, "draws images"] | None = None) -> Float[Tensor, "draws classes"]:
        """The average precision of each class, of images that count by `weights`, or once each."""
        return average_precisions(self.scores, self.labels, torch.ones(1, self.images) if weights is None else weights)

    @property
    def mean_ap(self) -> float:
        """The mean average precision over classes; those that no image shows do not count. nan where none does."""
        return float(self.precisions().nanmean())

    def numbers(self) -> dict[str, float]:
        """The mean by name."""
        return {"map": self.mean_ap}

    def interval(self) -> Interval:
        """Of the mean, by drawing the images again; classes that a draw lacks do not count in it."""
        random, images = np.random.default_rng(SEED), self.images
        draws = (np.bincount(random.integers(images, size=images), minlength=images) for _ in range(DRAWS))
        means = []
        while some := list(islice(draws, max(1, AT_ONCE // max(1, images)))):
            means.append(self.precisions(torch.from_numpy(np.stack(some))).nanmean(dim=1))
        return percentiles(torch.cat(means).numpy())

    def details(self, classes: Sequence[str]) -> dict[str, Any]:
        """The 95 % interval of the mean; the images that show each class, and its average precision; and the classes
        that none shows. classes: their names."""
        counted = list(zip(classes, self.labels.sum(0).tolist(), self.precisions()[0].tolist(), strict=True))
        return {
            "intervals": {"map": self.interval()},
            "by_class": {name: {"images": many, "average_precision": found} for name, many, found in counted if many},
            "absent_classes": [name for name, many, _ in counted if not many],
        }


def average_precisions(
    scores: Float[Tensor, "images classes"],
    labels: Bool[Tensor, "images classes"],
    weights: Shaped[Tensor, "draws images"],
) -> Float[Tensor, "draws classes"]:
    """Of each class the sum over thresholds of (recall - recall before) * precision, images counting by their weights.

    Images of equal scores pass a threshold together, as in scikit-learn's average_precision_score. nan for a class that
    no image shows.
    """
    weights = weights.double()
    return torch.stack([average_precision(*one, weights) for one in zip(scores.T, labels.T, strict=True)], dim=1)


def average_precision(
    scores: Float[Tensor, " images"], labels: Bool[Tensor, " images"], weights: Float[Tensor, "draws images"]
) -> Float[Tensor, " draws"]:
    """The same of one class: the mean precision of the thresholds at which images that show it pass."""
    scores, order = scores.sort(descending=True, stable=True)
    if not len(scores):
        return torch.full((len(weights),), torch.nan, dtype=torch.float64)
    passed, shows = weights[:, order], labels[order]
    ends = (scores.diff() != 0).nonzero().flatten()
    ends = torch.cat([ends, torch.tensor([len(scores) - 1])])  # the last image of each threshold
    end = ends[torch.searchsorted(ends, torch.arange(len(scores)))]
    showing = passed * shows
    precision = showing.cumsum(1) / passed.cumsum(1).clamp_min(1e-12)
    return (showing * precision[:, end]).sum(1) / showing.sum(1)


def joined(parts: Sequence[Ranked], classes: int) -> Ranked:
    """All parts as one, in the order of the places of their images; none are nothing of so many classes."""
    none = Ranked(torch.zeros(0, classes), torch.zeros(0, classes, dtype=torch.bool), torch.zeros(0, dtype=torch.int64))
    order = torch.cat([none.places, *(part.places for part in parts)]).argsort()
    return Ranked(
        torch.cat([none.scores, *(part.scores for part in parts)])[order],
        torch.cat([none.labels, *(part.labels for part in parts)])[order],
        torch.cat([none.places, *(part.places for part in parts)])[order],
    )
