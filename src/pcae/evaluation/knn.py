"""k nearest neighbours: how good features are, without training anything."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def check_k(k: int, images: int) -> None:
    """Raise ValueError unless there are k training images."""
    if not 1 <= k <= images:
        raise ValueError(f"k must lie in [1, {images}], the number of training images, got {k}")


def knn_accuracies(
    train: Float[Tensor, "train dim"],
    train_labels: Int[Tensor, " train"],
    test: Float[Tensor, "test dim"],
    test_labels: Int[Tensor, " test"],
    ks: Sequence[int] = (20,),
    *,
    temperature: float = 0.07,
) -> dict[int, float]:
    """By k, the share of test images whose k nearest train images, by cosine similarity, vote for the right label.

    A vote weighs exp(similarity / temperature), as in Wu et al. 2018 and DINO. All k share one product.
    Raises ValueError unless there are at least k train images.
    """
    for k in ks:
        check_k(k, len(train))
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    right = dict.fromkeys(ks, 0)
    for features, labels in zip(test.split(512), test_labels.split(512), strict=True):
        similarity, places = (features @ train.T).topk(max(ks), dim=1)
        voters = train_labels[places]
        for k in right:
            right[k] += voted_right(similarity[:, :k], voters[:, :k], labels, classes, temperature)
    return {k: count / len(test) for k, count in right.items()}


def voted_right(
    similarity: Float[Tensor, "test k"],
    voters: Int[Tensor, "test k"],
    labels: Int[Tensor, " test"],
    classes: int,
    temperature: float = 0.07,
) -> int:
    """How many images get the right label by the votes of their nearest. voters: the labels of these."""
    votes = torch.zeros(len(labels), classes, device=similarity.device)
    votes.scatter_add_(1, voters, (similarity / temperature).exp())
    return int((votes.argmax(dim=1) == labels).sum())
