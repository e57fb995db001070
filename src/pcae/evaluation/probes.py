"""How good features are, without touching the encoder."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def knn_accuracy(
    train: Float[Tensor, "train dim"],
    train_labels: Int[Tensor, " train"],
    test: Float[Tensor, "test dim"],
    test_labels: Int[Tensor, " test"],
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Share of test images whose k nearest train images, by cosine similarity, vote for the right label.

    A vote weighs exp(similarity / temperature), as in Wu et al. 2018 and DINO.
    Raises ValueError unless there are at least k train images.
    """
    if not 1 <= k <= len(train):
        raise ValueError(f"k must lie in [1, {len(train)}], the number of training images, got {k}")
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    right = 0
    for features, labels in zip(test.split(512), test_labels.split(512), strict=True):
        similarity, places = (features @ train.T).topk(k, dim=1)
        votes = torch.zeros(len(features), classes, device=features.device)
        votes.scatter_add_(1, train_labels[places], (similarity / temperature).exp())
        right += int((votes.argmax(dim=1) == labels).sum())
    return right / len(test)
