"""How often a classifier is right, of all images and of each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcae.evaluation.estimates import balanced_accuracy_interval, wilson


@dataclass(frozen=True)
class Tally:
    """How many images had the true class among the five highest logits, and what was taken for what.

    confusion: images of each true class (row) by predicted class (column), right ones on the diagonal. Tallies
    of parts of the data add up.
    """

    right_of_five: int
    confusion: Int[Tensor, "classes classes"]

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.right_of_five + other.right_of_five, self.confusion + other.confusion)

    @property
    def images(self) -> int:
        """How many there were."""
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        """How many had the highest logit at the true class."""
        return int(self.confusion.trace())

    @property
    def top1(self) -> float:
        """Share whose true class has the highest logit."""
        return self.right / self.images

    @property
    def top5(self) -> float:
        """Share whose true class is among the five highest logits."""
        return self.right_of_five / self.images

    @property
    def images_by_class(self) -> Int[Tensor, " classes"]:
        """How many there were of each class."""
        return self.confusion.sum(dim=1)

    @property
    def balanced_accuracy(self) -> float:
        """The mean over classes of the share of their images that is right; classes without images do not count."""
        images = self.images_by_class
        return float((self.confusion.diagonal() / images)[images > 0].double().mean())

    def numbers(self) -> dict[str, float]:
        """The shares by name."""
        return {"top1": self.top1, "top5": self.top5, "balanced_accuracy": self.balanced_accuracy}

    def details(self, classes: Sequence[str]) -> dict[str, Any]:
        """95 % intervals of the shares; images of each class, the share that is right (recall), and its interval; and
        the classes without images. classes: their names."""
        right, images = self.confusion.diagonal().numpy(), self.images_by_class.numpy()
        counted = list(zip(classes, right.tolist(), images.tolist(), strict=True))
        return {
            "intervals": {
                "top1": wilson(self.right, self.images),
                "top5": wilson(self.right_of_five, self.images),
                "balanced_accuracy": balanced_accuracy_interval(right, images),
            },
            "by_class": {
                name: {"images": many, "recall": hits / many, "interval": wilson(hits, many)}
                for name, hits, many in counted
                if many
            },
            "absent_classes": [name for name, _, many in counted if not many],
        }


def tally(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Tally:
    """Count right and wrong predictions."""
    classes = logits.shape[1]
    best = logits.topk(min(5, classes), dim=1).indices
    hits = best == labels[:, None]
    confusion = torch.bincount(labels * classes + best[:, 0], minlength=classes * classes)
    return Tally(int(hits.any(dim=1).sum()), confusion.view(classes, classes))


def no_images(classes: int) -> Tally:
    """The tally of no images at all."""
    return Tally(0, torch.zeros(classes, classes, dtype=torch.int64))
