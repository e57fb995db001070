"""The losses are their formulas, and the weights scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from pcae.tasks.losses import balanced_weights, binary_cross_entropy, cross_entropy, smoothed


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(0)).double()


def test_balanced_weights_are_scikit_learns():
    labels = np.array([0] * 30 + [1] * 7 + [2] * 4)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(torch.tensor([30, 7, 4]), 41).numpy(), expected, rtol=1e-6)
    without = balanced_weights(torch.tensor([30, 0, 7, 4]), 41)
    np.testing.assert_allclose(without.numpy(), [expected[0], 0, *expected[1:]], rtol=1e-6)


def test_those_of_several_labels_are_scikit_learns_of_each_class():
    labels = np.random.default_rng(0).random((50, 3)) < [0.1, 0.5, 1.0]
    having = torch.from_numpy(labels.sum(0))
    found = balanced_weights(torch.stack([having, 50 - having]), 50).numpy()
    for place in range(2):
        expected = compute_class_weight("balanced", classes=np.array([True, False]), y=labels[:, place])
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], [1, 0])  # all have it


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0, 3.0])])
def test_cross_entropy_is_its_formula_for_classes_and_for_soft_targets(logits, smoothing, weights):
    labels = torch.arange(12) % 4
    hard = F.one_hot(labels, 4).double()
    soft = 0.7 * hard + 0.3 * hard.flip(0)
    weight = torch.ones(4).double() if weights is None else weights.double()
    for given, targets in ((labels, hard), (soft, soft)):
        smooth = (1 - smoothing) * targets + smoothing / 4
        expected = -(weight * smooth * logits.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(cross_entropy(logits, given, smoothing, weights), expected)


def test_weighted_parts_of_a_batch_add_up_to_the_batch(logits):
    labels, weights = torch.arange(12) % 4, torch.tensor([0.1, 5.0, 1.0, 0.0])
    halves = [cross_entropy(logits[rows], labels[rows], 0.1, weights) for rows in (slice(5), slice(5, 12))]
    whole = cross_entropy(logits, labels, 0.1, weights)
    torch.testing.assert_close((5 * halves[0] + 7 * halves[1]) / 12, whole)


@pytest.mark.parametrize("weights", [None, torch.tensor([[0.5, 2.0, 1.0, 3.0], [1.5, 0.5, 0.0, 1.0]])])
def test_binary_cross_entropy_is_its_formula(logits, weights):
    labels = (torch.rand(12, 4, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    targets = smoothed(labels, 0.1)
    torch.testing.assert_close(targets, torch.where(labels == 1, 0.95, 0.05).double())
    having, lacking = torch.ones(2, 4).double() if weights is None else weights.double()
    chance = 1 / (1 + torch.exp(-logits))
    expected = -(having * targets * chance.log() + lacking * (1 - targets) * (1 - chance).log()).mean()
    torch.testing.assert_close(binary_cross_entropy(logits, targets, weights), expected)


def test_logits_of_any_size_have_a_finite_loss_and_gradient():
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    loss = binary_cross_entropy(logits, torch.tensor([[1.0, 0.0]]), torch.ones(2, 2))
    loss.backward()
    assert loss == 200 and logits.grad is not None and logits.grad.isfinite().all()
