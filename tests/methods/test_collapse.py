import pytest
import torch

from pcae.methods.collapse import describe_data, find_faults

SETTINGS = {"momentum": None, "target_norm": "token", "base_lr": 4e-3, "steps": 1000, "method": "pcae"}
START = {"step": 0, "skipped": 0} | {
    f"health/{name}": value
    for name, value in {
        "student_std": 0.4, "student_rank": 20.0, "target_std": 0.7, "position_share": 0.3, "teacher_std": 0.5,
        "teacher_rank": 30.0, "score_std": 0.2, "teacher_student_cosine": 1.0,
    }.items()
}  # fmt: skip


def judge(settings=SETTINGS, **now):
    skipped = now.pop("skipped", 0)
    changed = {f"health/{name}": value for name, value in now.items()}
    return find_faults([START, START | changed | {"step": 100, "skipped": skipped}], settings)


def test_a_run_as_healthy_as_those_that_were_measured_is_not_warned_of():
    """The lowest numbers of three healthy runs of the recipe `sample`, as shares of their start."""
    assert not judge(student_std=0.33, student_rank=11.0, target_std=0.69, position_share=0.24, score_std=0.19)
    assert not find_faults([START], SETTINGS)


@pytest.mark.parametrize("name", ["student_std", "student_rank", "target_std"])
def test_what_vanishes_is_a_collapse_with_its_number_then_and_now(name):
    start = START[f"health/{name}"]
    assert not judge(**{name: 0.3 * start})
    (sentence,) = judge(**{name: 0.2 * start}).values()
    assert "collapsed" in sentence and f"{0.2 * start:.2g} (at the start {start:.2g})" in sentence


def test_the_remedies_are_those_of_the_settings():
    odd = SETTINGS | {"momentum": 0.0, "target_norm": "none"}
    (sentence,) = judge(odd, student_std=0.01).values()
    assert "--momentum (now 0), or none, which is 0.996 here" in sentence and "--target-norm token" in sentence
    (sentence,) = judge(student_std=0.01).values()
    assert "--momentum" not in sentence and "--target-norm" not in sentence and "--base-lr (now 0.004)" in sentence
    (sentence,) = judge(odd | {"method": "mae"}, student_std=0.01).values()
    assert "--momentum" not in sentence and "--target-norm" not in sentence


def test_position_flat_scores_and_skipped_steps_are_named():
    assert judge(position_share=0.97)["position"].startswith("position alone decides 97%")
    assert "chance" in judge(score_std=0.01)["scores"]
    assert judge(skipped=10)["skipped"].startswith("10 of 100 steps were skipped")
    assert not judge(skipped=5)


def test_scores_of_another_scale_are_judged_by_their_own_start():
    """Attention that is received is about 1 / N, cosines are about 1."""
    start = START | {"health/score_std": 0.0017}
    assert not find_faults([start, start], SETTINGS)


def test_what_is_not_known_is_not_judged_and_what_is_not_finite_is_named():
    few = {name: value for name, value in START.items() if name not in {"health/target_std", "health/position_share"}}
    assert not find_faults([few, few], SETTINGS)
    (sentence,) = judge(student_std=float("nan"), student_rank=float("nan")).values()
    assert "diverged" in sentence and "--base-lr" in sentence


def test_data_with_nothing_in_them_are_named():
    picture = torch.randint(0, 255, (1, 3, 8, 8), dtype=torch.uint8)
    assert "the data set is constant" in describe_data(picture.expand(5, -1, -1, -1))["constant"]
    gray = torch.arange(5, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8) * 40
    assert "of one colour" in describe_data(gray)["blank"]
    others = torch.randint(0, 255, (5, 3, 8, 8), dtype=torch.uint8)
    assert not describe_data(others)
    dark = torch.zeros_like(others)
    dark[2, :, 3, 3] = 90  # a star on one of them is something
    assert not describe_data(dark)
