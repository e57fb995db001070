"""Intervals over images and seeds: against worlds whose truth is known, and against other ways to the same number."""

import math

import numpy as np
import pytest
from scipy.stats import t as theirs

from pcae.comparison.worth.paired import Sure, more_images, sure
from pcae.comparison.worth.student import quantile


@pytest.mark.parametrize("freedom", [1, 2, 2.4, 3, 5.5, 12, 80, 5000])
def test_quantiles_are_scipys(freedom):
    assert quantile(0.975, freedom) == pytest.approx(theirs.ppf(0.975, freedom), rel=1e-3)


def test_between_one_and_two_degrees_a_quantile_is_a_little_too_large():
    for freedom in (1.2, 1.5, 1.9):
        assert 1 <= quantile(0.975, freedom) / theirs.ppf(0.975, freedom) < 1.03


def world(rng, seeds, images, of_seed, of_image, alone):
    """Values whose mean over all worlds is 0, by what each part of them varies."""
    noise = alone * rng.normal(size=(seeds, images))
    return of_seed * rng.normal(size=(seeds, 1)) + of_image * rng.normal(size=(1, images)) + noise


@pytest.mark.parametrize("parts", [(0.0, 0.5, 0.3), (0.1, 0.5, 0.3), (0.3, 0.2, 0.1), (0.0, 0.0, 1.0)])
def test_about_95_of_100_intervals_hold_the_truth(parts):
    rng, there = np.random.default_rng(0), np.ones((3, 60), dtype=bool)
    held = [sure(world(rng, 3, 60, *parts), there) for _ in range(600)]
    assert 0.90 < np.mean([one.low <= 0 <= one.high for one in held]) <= 1.0


def test_with_one_seed_it_is_the_interval_of_independent_images():
    values = np.random.default_rng(1).normal(size=(1, 40))
    found = sure(values, np.ones((1, 40), dtype=bool))
    error = values.std(ddof=1) / math.sqrt(40)
    assert found.half == pytest.approx(theirs.ppf(0.975, 39) * error, rel=1e-6) and found.seeds == 1


def test_the_variance_is_that_of_a_bootstrap_over_images_and_seeds():
    """With many seeds; both draw images, and seeds, with replacement."""
    rng = np.random.default_rng(2)
    values = world(rng, 30, 50, 0.2, 0.5, 0.5)
    found = sure(values, np.ones((30, 50), dtype=bool))
    drawn = [values[rng.integers(0, 30, 30)][:, rng.integers(0, 50, 50)].mean() for _ in range(4000)]
    assert found.half == pytest.approx(2.02 * np.std(drawn), rel=0.12)


def test_seeds_that_agree_on_the_same_images_are_no_more_images():
    once = np.random.default_rng(3).integers(0, 2, (1, 50)).astype(float)
    thrice, there = np.repeat(once, 3, axis=0), np.ones((3, 50), dtype=bool)
    assert sure(thrice, there).half == pytest.approx(sure(once, there[:1]).half, rel=1e-3)


def test_images_that_are_held_out_in_one_seed_count_there_alone():
    values, there = np.zeros((2, 6)), np.zeros((2, 6), dtype=bool)
    values[0, :4], there[0, :4] = [1, 1, 0, 1], True
    values[1, 2:], there[1, 2:] = [0, 1, 1, 0], True
    found = sure(values, there)
    assert found.mean == pytest.approx(5 / 8) and (found.images, found.seeds) == (6, 2) and found.half > 0.3
    values[~there] = 99
    assert sure(values, there) == found


def test_nothing_and_one_image_tell_nothing():
    nothing = sure(np.zeros((2, 3)), np.zeros((2, 3), dtype=bool))
    assert math.isnan(nothing.mean) and nothing.half == math.inf
    one = np.zeros((2, 3), dtype=bool)
    one[0, 0] = True
    assert sure(np.ones((2, 3)), one).half == math.inf


@pytest.mark.parametrize("images", [5, 40, 1000])
def test_where_all_are_alike_one_in_so_many_may_still_be_otherwise(images):
    """A share of that size is missed by so many images in 5 of 100 cases."""
    half = sure(np.zeros((3, images)), np.ones((3, images), dtype=bool)).half
    assert (1 - half) ** images == pytest.approx(0.05) and half == pytest.approx(3 / images, rel=0.3)


def test_a_factor_scales_both():
    assert Sure(0.1, 0.02, 9, 3).times(-2) == Sure(-0.2, 0.04, 9, 3)


def test_more_images_are_as_many_as_narrow_the_interval():
    assert more_images(Sure(0, 0.03, 900, 3)) == 0
    more = more_images(Sure(0, 0.09, 40, 3))
    assert 0.09 * math.sqrt(40 / (40 + more)) == pytest.approx(0.03, rel=0.01) and more == 320
    assert more_images(Sure(0, math.inf, 1, 1)) > 1000
