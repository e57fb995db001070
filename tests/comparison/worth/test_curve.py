"""What ten times the time would bring, for curves whose course is known."""

import math

import numpy as np
import pytest

from pcae.comparison.worth.curve import Outlook, outlook

ALL = np.ones((3, 4000), dtype=bool)


def right(share, seed=0):
    """As many images right as a share of them."""
    order = np.random.default_rng(seed).permutation(4000)
    return np.repeat((order < share * 4000)[None].astype(float), 3, axis=0)


def test_a_curve_that_gains_two_points_a_doubling_gains_as_many_each():
    found = outlook({0.25: right(0.5), 0.5: right(0.52), 1.0: right(0.54)}, ALL)
    assert found and found.gain == pytest.approx(0.02 * math.log2(10), abs=1e-3) and found.rises
    assert found.low == 0 and found.high > found.gain


def test_a_curve_that_bends_down_may_be_level_from_here_on():
    found = outlook({0.25: right(0.5), 0.5: right(0.6), 1.0: right(0.6)}, ALL)
    assert found and not found.rises and found.low <= 0 < found.gain < found.high


def test_a_curve_that_falls_is_said_to():
    found = outlook({0.25: right(0.6), 0.5: right(0.55), 1.0: right(0.5)}, ALL)
    assert found and found.gain < 0 and found.high == 0 and not found.rises


def test_no_accuracy_goes_beyond_all_or_below_nothing():
    high = outlook({0.25: right(0.5), 0.5: right(0.75), 1.0: right(0.95)}, ALL)
    assert high and high.gain == pytest.approx(0.05, abs=1e-3) and high.high <= 0.05 + 1e-9
    low = outlook({0.25: right(0.5), 0.5: right(0.2), 1.0: right(0.05)}, ALL)
    assert low and low.gain == pytest.approx(-0.05, abs=1e-3)


def test_few_images_make_a_wide_range():
    few = ALL[:, :40]
    points = {0.25: right(0.5, 1)[:, :40], 0.5: right(0.52, 2)[:, :40], 1.0: right(0.54, 3)[:, :40]}
    found = outlook(points, few)
    assert found and found.high - found.low > 0.3 and found.words().endswith(": not sure")


def test_one_point_says_nothing():
    assert outlook({1.0: right(0.5)}, ALL) is None
    assert outlook({0.5: right(0.5), 1.0: right(0.5)}, ~ALL) is None


def test_words():
    assert (
        Outlook(0.02, -0.01, 0.06, False).words()
        == "10 times the time: about +2 points, anything from -1 to +6: not sure"
    )
    assert Outlook(0.05, 0.03, 0.06, True).words() == "10 times the time: about +5 points, anything from +3 to +6"
