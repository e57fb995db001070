from itertools import pairwise

import pytest

from pcae.training.schedule import learning_rate_at, momentum_at


def test_warm_up_and_cosine():
    rates = [learning_rate_at(step, steps=12, warmup_steps=4, peak=2.0) for step in range(12)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0 and rates[8] == pytest.approx(1.0)
    assert all(a > b for a, b in pairwise(rates[4:])) and rates[-1] > 0
    assert learning_rate_at(12, steps=12, warmup_steps=4, peak=2.0) == 0


def test_a_run_shorter_than_its_warm_up_stays_below_the_peak():
    assert learning_rate_at(1, steps=2, warmup_steps=100, peak=1.0) == 0.02


def test_the_rate_falls_to_a_tenth_at_two_thirds_and_again_at_eleven_twelfths():
    rates = [learning_rate_at(step, steps=12, warmup_steps=2, peak=2.0, drops=(2 / 3, 11 / 12)) for step in range(12)]
    assert rates == pytest.approx([1.0, *[2.0] * 7, *[0.2] * 3, 0.02])


def test_momentum_rises_from_start_to_end_or_stays():
    assert momentum_at(0, steps=10, start=0.9, end=1.0) == pytest.approx(0.9)
    assert momentum_at(5, steps=10, start=0.9, end=1.0) == pytest.approx(0.95)
    assert momentum_at(10, steps=10, start=0.9, end=1.0) == 1.0
    assert momentum_at(7, steps=10, start=0.9999, end=0.9999) == 0.9999
