import math

import pytest

from pcae.settings.tasks import ClassificationConfig
from pcae.tasks.classification import drop_schedule
from pcae.tasks.dial import DropSchedule, grid, parse_drop_ratio
from pcae.training.schedule import drop_ratio_at


def closed_form(step: int, target: float, start: int, ramp: int) -> float:
    """Section 3.4 and EViT: nothing, then target * (1 - cos(pi * t)) / 2 over the ramp, then the target."""
    share = min(1.0, max(0.0, (step - start) / ramp))
    return target * (1 - math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("target", [0.1, 0.25, 0.33, 0.4])
def test_the_ramp_is_its_closed_form_to_the_nearest_twentieth(target):
    for step in range(0, 1_200, 7):
        ratio = drop_ratio_at(step, target=target, start_steps=100, ramp_steps=250)
        exact = closed_form(step, target, 100, 250)
        assert abs(ratio - exact) <= 0.025 + 1e-9
        assert ratio in {target, 0.0} or math.isclose(ratio * 20, round(ratio * 20))
        assert ratio == 0 if step < 100 else ratio <= target
        if step >= 350:
            assert ratio == target


def test_a_straight_ramp_is_straight():
    ratios = [drop_ratio_at(s, target=0.4, start_steps=0, ramp_steps=80, ramp="linear") for s in (0, 20, 40, 60, 80)]
    assert ratios == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_run_of_100_epochs_has_the_papers_schedule():
    schedule = drop_schedule(ClassificationConfig(drop_ratio=0.4), steps=125_100, steps_per_epoch=1_251)
    assert (schedule.start_steps, schedule.ramp_steps) == (10 * 1_251, 25 * 1_251)
    short = ClassificationConfig(drop_ratio=0.4, drop_start_epochs=0.0, drop_ramp_epochs=2.0)
    assert drop_schedule(short, steps=1_000, steps_per_epoch=100.0).ramp_steps == 200


def test_the_dial_draws_every_ratio_of_its_grid_alike_and_by_seed_and_step_alone():
    dial = DropSchedule(low=0.0, high=0.4, start_steps=0, ramp_steps=0)
    drawn = [dial.at(step, seed=3) for step in range(5_000)]
    shares = {ratio: drawn.count(ratio) / len(drawn) for ratio in grid(0.0, 0.4)}
    assert grid(0.0, 0.4) == [0.0, 0.1, 0.2, 0.3, 0.4] and all(abs(share - 0.2) < 0.03 for share in shares.values())
    assert drawn == [dial.at(step, seed=3) for step in range(5_000)] != [dial.at(step, seed=4) for step in range(5_000)]


def test_the_dial_never_draws_more_than_the_ramp_has_reached():
    dial = DropSchedule(low=0.0, high=0.4, start_steps=10, ramp_steps=100)
    for step in range(130):
        most = drop_ratio_at(step, target=0.4, start_steps=10, ramp_steps=100)
        assert dial.at(step, seed=0) <= most


def test_a_dial_that_begins_above_zero_climbs_to_its_least_ratio_first():
    dial = DropSchedule(low=0.2, high=0.3, start_steps=0, ramp_steps=100)
    assert dial.at(0, 0) == 0 and 0 < dial.at(30, 0) < 0.2
    assert {dial.at(step, 0) for step in range(100, 200)} == {0.2, 0.3}


@pytest.mark.parametrize(("value", "pair"), [(0.3, (0.3, 0.3)), ("0:0.4", (0.0, 0.4)), ("0.25", (0.25, 0.25))])
def test_a_drop_ratio_is_one_number_or_two(value, pair):
    assert parse_drop_ratio(value) == pair


@pytest.mark.parametrize("value", [1.0, -0.1, "0.4:0", "0:1", "a:b", "0:0.2:0.4", "", ":", float("nan"), "inf"])
def test_anything_else_is_refused_with_the_value(value):
    with pytest.raises(ValueError, match="drop_ratio must be a share in"):
        parse_drop_ratio(value)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.4), (0.2, 0.33), (0.35, 0.35), (0.0, 0.0), (0.25, 0.5)])
def test_the_ratios_of_a_dial_are_those_of_its_steps(low, high):
    dial = DropSchedule(low=low, high=high, start_steps=5, ramp_steps=400, ramp="linear")
    drawn = {dial.at(step, seed) for step in range(3_000) for seed in (0, 1)}
    assert dial.ratios == sorted(drawn | {low})
