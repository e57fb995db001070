import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from pcae.evaluation.probes import knn_accuracy


def test_it_is_scikit_learns_weighted_neighbours():
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
    theirs = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    theirs.fit(x[:1000].numpy(), y[:1000].numpy())
    expected = theirs.score(x[1000:].numpy(), y[1000:].numpy())
    assert knn_accuracy(x[:1000], y[:1000], x[1000:], y[1000:], k=20) == pytest.approx(expected, abs=2e-3)


def test_the_nearer_neighbours_weigh_more():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    accuracy = knn_accuracy(train, torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.05]]), torch.tensor([0]), k=3)
    assert accuracy == 1.0


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_not_exceed_the_training_images(k):
    x, y = torch.eye(3), torch.arange(3)
    with pytest.raises(ValueError, match=r"k must lie in \[1, 3\]"):
        knn_accuracy(x, y, x, y, k=k)
