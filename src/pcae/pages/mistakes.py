"""One HTML page that stands alone: the wrong predictions that a classifier was surest of, with pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pcae.data.images import Images
from pcae.data.tables.several_labels import targets_of
from pcae.model.pretrained import PretrainedFacts
from pcae.pages.dataset_page import thumbnail
from pcae.pages.html import write_html

PAIRS, OF_EACH = 40, 24
"""Pairs of classes, and mistakes of each, that the page shows."""


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction. place: of the image. probability: of what was predicted."""

    place: int
    true: str
    predicted: str
    probability: float


@dataclass
class Mistakes:
    """The wrong predictions for images, whose classes are those of `facts`; batches are added one by one.

    images: how many were looked at. wrong: with one class an image, one each; else one for each class that is wrongly
    said to be there, or not to be there, at a probability of 0.5.
    """

    shown: Images
    facts: PretrainedFacts
    images: int = 0
    wrong: list[Mistake] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.labels = targets_of(self.shown)

    def add(self, logits: Float[Tensor, "images classes"], places: Sequence[int]) -> None:
        """Look at the logits of a batch of images at these places."""
        self.images += len(places)
        chances, labels = self.facts.probabilities(logits), self.labels[places]
        find = self.of_several if self.facts.multi_label else self.of_one
        self.wrong += find(chances, labels, places)

    def join(self, shares: Sequence[tuple[int, list[Mistake]]]) -> None:
        """Put together what processes found, each of its share: how many images, and the mistakes."""
        self.images = sum(images for images, _ in shares)
        self.wrong = [mistake for _, wrong in shares for mistake in wrong]

    def of_one(self, chances: Tensor, labels: Tensor, places: Sequence[int]) -> list[Mistake]:
        """Images whose most likely class is another one."""
        classes = self.facts.classes or []
        best, taken = chances.max(dim=1)
        return [
            Mistake(places[row], classes[int(labels[row])], classes[int(taken[row])], float(best[row]))
            for row in (taken != labels).nonzero().flatten().tolist()
        ]

    def of_several(self, chances: Tensor, labels: Tensor, places: Sequence[int]) -> list[Mistake]:
        """Classes that an image is wrongly said to show, or not to show."""
        classes = self.facts.classes or []
        said = chances >= 0.5
        sure = torch.where(said, chances, 1 - chances)
        words = [(f"no {name}", name) for name in classes]
        return [
            Mistake(
                places[row],
                words[place][int(labels[row, place])],
                words[place][int(said[row, place])],
                float(sure[row, place]),
            )
            for row, place in (said != (labels == 1)).nonzero().tolist()
        ]

    def by_pair(self, most_pairs: int, most_of_each: int) -> list[tuple[tuple[str, str], int, list[Mistake]]]:
        """True and predicted class, how often, and the mistakes that the classifier was surest of.

        Frequent pairs come first, of equally frequent ones that with the surest mistake.
        """
        pairs: dict[tuple[str, str], list[Mistake]] = {}
        for mistake in sorted(self.wrong, key=lambda one: (-one.probability, one.place)):
            pairs.setdefault((mistake.true, mistake.predicted), []).append(mistake)
        frequent = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), -pair[1][0].probability))
        return [(pair, len(some), some[:most_of_each]) for pair, some in frequent[:most_pairs]]


def write_mistakes(path: Path, mistakes: Mistakes, title: str, data: str, drop_ratio: float) -> None:
    """Write the page in one move. title: the weights. data: where the images are from."""
    pairs = mistakes.by_pair(PAIRS, OF_EACH)
    write_html(
        path,
        "mistakes.html",
        title=title,
        data=data,
        drop_ratio=drop_ratio,
        images=mistakes.images,
        wrong=len(mistakes.wrong),
        several=mistakes.facts.multi_label,
        pairs=[
            {"true": true, "predicted": predicted, "count": count, "cards": [card(mistakes.shown, one) for one in some]}
            for (true, predicted), count, some in pairs
        ],
        more=len({(one.true, one.predicted) for one in mistakes.wrong}) - len(pairs),
    )


def card(images: Images, mistake: Mistake) -> dict[str, Any]:
    """What the page shows of a mistake."""
    return {
        "name": images.short(mistake.place),
        "probability": mistake.probability,
        "picture": thumbnail(images, mistake.place),
    }
