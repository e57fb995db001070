import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from pcae.evaluation.knn import knn_accuracies


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    return torch.tensor(found.data, dtype=torch.float32), torch.tensor(found.target)


def test_it_is_scikit_learns_weighted_neighbours():
    x, y = digits()
    theirs = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    theirs.fit(x[:1000].numpy(), y[:1000].numpy())
    expected = theirs.score(x[1000:].numpy(), y[1000:].numpy())
    assert knn_accuracies(x[:1000], y[:1000], x[1000:], y[1000:])[20] == pytest.approx(expected, abs=2e-3)


def test_several_k_are_each_k_by_itself():
    x, y = digits()
    x = x + 20 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))  # so that k matters
    parts = (x[:1000], y[:1000], x[1000:], y[1000:])
    together = knn_accuracies(*parts, ks=(50, 1, 10))
    assert list(together) == [50, 1, 10] and len(set(together.values())) == 3
    for k, accuracy in together.items():
        assert knn_accuracies(*parts, ks=(k,)) == {k: accuracy}


def test_the_nearer_neighbours_weigh_more():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    found = knn_accuracies(train, torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.05]]), torch.tensor([0]), ks=(3,))
    assert found == {3: 1.0}


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_not_exceed_the_training_images(k):
    x, y = torch.eye(3), torch.arange(3)
    with pytest.raises(ValueError, match=r"k must lie in \[1, 3\], the number of training images"):
        knn_accuracies(x, y, x, y, ks=(1, k))
