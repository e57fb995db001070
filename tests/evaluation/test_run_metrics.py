"""However long a run is, its curves are short, and nothing that was written down is lost in them."""

import json
import math

import numpy as np
import pytest

from pcae.evaluation.run_metrics import MOST_POINTS, Curve, read_curves


def curve_of(values) -> Curve:
    curve = Curve()
    for step, value in enumerate(values, 1):
        curve.add(step, float(value))
    return curve


@pytest.mark.parametrize("count", [1, 2, MOST_POINTS - 1, MOST_POINTS, MOST_POINTS + 1, 1001, 20_000, 123_457])
def test_a_point_is_the_mean_and_the_bounds_of_its_values(count):
    values = np.random.default_rng(count).normal(size=count)
    curve = curve_of(values)
    width, points = curve.width, curve.points()
    assert len(points.steps) == math.ceil(count / width) <= MOST_POINTS
    assert width == 1 or len(points.steps) > MOST_POINTS / 2, "no coarser than it must be"
    for index, (step, mean, low, high) in enumerate(zip(*points, strict=True)):
        part = values[index * width : (index + 1) * width]
        assert step == index * width + (1 + len(part)) / 2
        assert (low, high) == (part.min(), part.max()) and mean == pytest.approx(part.mean())
    assert (len(curve.values), curve.values[-1], curve.highest) == (count, values[-1], values.max())


def test_values_that_are_not_finite_are_counted_and_left_out_of_means():
    values = [1.0, math.nan, 3.0, math.inf] * MOST_POINTS
    curve = curve_of(values)
    assert curve.width == 4 and set(curve.points().means) == {2.0}
    assert len(curve.finite) == 2 * MOST_POINTS and curve.values[-1] == math.inf and curve.highest == 3
    assert math.isnan(curve_of([math.nan]).points().means[0]) and curve_of([math.nan]).highest == -math.inf


def test_lines_of_every_kind_are_read_and_a_torn_last_one_is_no_fault(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 0, "health/student_std": 0.5},
        {"step": 2, "loss": math.nan},
        {"step": 4, "loss": 0.25, "word": "x"},
    ]
    whole = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(whole + '{"step": 6, "lo')
    metrics = read_curves(path)
    assert (metrics.step, metrics.unreadable) == (4, 0) and metrics.curves.keys() == {"health/student_std", "loss"}
    assert [*metrics.curves["loss"].steps] == [2, 4] and [*metrics.curves["loss"].finite] == [0.25]
    assert metrics.last("health/") == {"student_std": 0.5}
    path.write_bytes(whole.encode() + b'no line\n[1]\n{"loss": 1}\n\xff\xfe\n{"step": 6, "loss": 0.5}\n')
    metrics = read_curves(path)
    assert (metrics.step, metrics.unreadable, metrics.last()["loss"]) == (6, 4, 0.5)
    assert read_curves(tmp_path / "gone").curves == {}
