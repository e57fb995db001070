"""Intervals of shares, against scipy's and against images drawn one by one."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from pcae.evaluation.estimates import balanced_accuracy_interval, in_percent, wilson


@pytest.mark.parametrize(("right", "images"), [(0, 1), (1, 1), (0, 20), (13, 20), (793, 1000), (10**6 - 1, 10**6)])
def test_wilsons_interval_is_scipys(right, images):
    expected = binomtest(right, images).proportion_ci(method="wilson")
    assert wilson(right, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_images_have_none():
    with pytest.raises(ValueError, match="0 images"):
        wilson(0, 0)


def test_the_interval_of_balanced_accuracy_is_that_of_images_drawn_again():
    """By another way of drawing, so that it agrees up to what chance does to a thousand draws."""
    random = np.random.default_rng(7)
    true = np.repeat([0, 1, 2], [300, 60, 25])
    taken = np.where(random.random(385) < np.repeat([0.9, 0.6, 0.4], [300, 60, 25]), true, (true + 1) % 3)
    draws = [random.integers(385, size=385) for _ in range(1000)]
    drawn = [balanced_accuracy_score(true[rows], taken[rows]) for rows in draws]
    images = np.bincount(true)
    found = balanced_accuracy_interval(np.bincount(true[true == taken], minlength=3), images)
    assert found == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.01)
    assert found == balanced_accuracy_interval(np.bincount(true[true == taken], minlength=3), images)


def test_a_class_without_images_changes_nothing():
    found = balanced_accuracy_interval(np.array([9, 4]), np.array([10, 8]))
    low, high = balanced_accuracy_interval(np.array([9, 0, 4]), np.array([10, 0, 8]))
    assert low == pytest.approx(found[0], abs=0.05) and high == pytest.approx(found[1], abs=0.05)


def test_shares_read_well():
    assert in_percent(0.793, (0.7662, 0.8171)) == "79.3 % (76.6\u201381.7)" and in_percent(1.0) == "100.0 %"
