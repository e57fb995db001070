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
    guesses = knn_guesses(train, train_labels, test, ks, temperature=temperature)
    return {k: int((guessed == test_labels).sum()) / len(test) for k, guessed in guesses.items()}


def knn_guesses(
    train: Float[Tensor, "train dim"],
    train_labels: Int[Tensor, " train"],
    test: Float[Tensor, "test dim"],
    ks: Sequence[int] = (20,),
    *,
    temperature: float = 0.07,
) -> dict[int, Int[Tensor, " test"]]:
    """By k, the label that each test image's k nearest train images vote for, as `knn_accuracies` counts it."""
    for k in ks:
        check_k(k, len(train))
    train, test, classes = F.normalize(train, dim=1), F.normalize(test, dim=1), int(train_labels.max()) + 1
    found: dict[int, list[Tensor]] = {k: [] for k in ks}
    for features in test.split(512):
        similarity, places = (features @ train.T).topk(max(ks), dim=1)
        voters = train_labels[places]
        for k, parts in found.items():
            parts.append(voted(similarity[:, :k], voters[:, :k], classes, temperature))
    return {k: torch.cat(parts) for k, parts in found.items()}


def voted(
    similarity: Float[Tensor, "test k"], voters: Int[Tensor, "test k"], classes: int, temperature: float = 0.07
) -> Int[Tensor, " test"]:
    """The label that most votes are for. voters: the labels of the nearest."""
    votes = torch.zeros(len(voters), classes, device=similarity.device)
    votes.scatter_add_(1, voters, (similarity / temperature).exp())
    return votes.argmax(dim=1)


def voted_right(
    similarity: Float[Tensor, "test k"],
    voters: Int[Tensor, "test k"],
    labels: Int[Tensor, " test"],
    classes: int,
    temperature: float = 0.07,
) -> int:
    """How many images get the right label by the votes of their nearest. voters: the labels of these."""
    return int((voted(similarity, voters, classes, temperature) == labels).sum())
