"""What a classifier is trained towards: targets, and the loss of logits, in which classes may have weights."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def balanced_weights(counts: Int[Tensor, "*sides classes"], images: int) -> Float[Tensor, "*sides classes"]:
    """images / (groups * count) for each group of images, as scikit-learn's "balanced" has it.

    counts: images of each class, which are the groups; with two rows, images that have a class and those that lack it,
    which are two groups for each class. Groups without images do not count and weigh 0; the mean weight of the
    training images is 1.
    """
    groups = (counts > 0).sum(0 if counts.ndim > 1 else None)
    return torch.where(counts > 0, images / (groups * counts.clamp_min(1)), 0.0)


def cross_entropy(
    logits: Float[Tensor, "images classes"],
    targets: Int[Tensor, " images"] | Float[Tensor, "images classes"],
    smoothing: float = 0.0,
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """The mean over images of sum_c weight_c * target_c * -log p_c, p being the softmax of the logits.

    targets: classes, or soft targets such as mixup's. With smoothing s the target is (1 - s) * target + s / classes.
    The mean is over images, not over weights, so that parts of a batch add up to the batch.
    """
    if weights is None:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    weights = weights.to(logits.dtype)
    return F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="none").mean()


def binary_cross_entropy(
    logits: Float[Tensor, "images classes"],
    targets: Float[Tensor, "images classes"],
    weights: Float[Tensor, "2 classes"] | None = None,
) -> Float[Tensor, ""]:
    """The mean over images and classes of -(t * log p + (1 - t) * log(1 - p)), p being the sigmoid of a logit.

    weights: of having a class and of lacking it; the first counts t times, the second 1 - t times.
    """
    if weights is None:
        return F.binary_cross_entropy_with_logits(logits, targets)
    having, lacking = weights.to(logits.dtype)
    return -(having * targets * F.logsigmoid(logits) + lacking * (1 - targets) * F.logsigmoid(-logits)).mean()


def smoothed(labels: Float[Tensor, "images classes"], smoothing: float) -> Float[Tensor, "images classes"]:
    """Labels of 0 and 1, drawn together: 1 becomes 1 - s / 2 and 0 becomes s / 2."""
    return labels * (1 - smoothing) + smoothing / 2
