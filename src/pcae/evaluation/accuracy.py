"""How often a classifier is right."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Tally:
    """How many images were right, by place of the true class among the logits, and what was taken for what.

    confusion: images of each true class (row) by predicted class (column). Tallies of parts of the data add up.
    """

    right: int
    right_of_five: int
    confusion: Int[Tensor, "classes classes"]

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.right + other.right, self.right_of_five + other.right_of_five, self.confusion + other.confusion
        )

    @property
    def images(self) -> int:
        """How many there were."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share whose true class has the highest logit."""
        return self.right / self.images

    @property
    def top5(self) -> float:
        """Share whose true class is among the five highest logits."""
        return self.right_of_five / self.images

    def numbers(self) -> dict[str, float]:
        """The shares by name."""
        return {"top1": self.top1, "top5": self.top5}


def tally(logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Tally:
    """Count right and wrong predictions."""
    classes = logits.shape[1]
    best = logits.topk(min(5, classes), dim=1).indices
    hits = best == labels[:, None]
    confusion = torch.zeros(classes * classes, dtype=torch.int64)
    confusion += torch.bincount(labels * classes + best[:, 0], minlength=classes * classes)
    return Tally(int(hits[:, 0].sum()), int(hits.any(dim=1).sum()), confusion.view(classes, classes))


def no_images(classes: int) -> Tally:
    """The tally of no images at all."""
    return Tally(0, 0, torch.zeros(classes, classes, dtype=torch.int64))
