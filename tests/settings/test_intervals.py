"""How often: steps or epochs, in one unit for all settings; what older runs wrote down means what it meant."""

import math

import pytest
import yaml

from pcae.settings.bounds import check_bounds
from pcae.settings.recipes import configure
from pcae.settings.run import HealthConfig, OptimizerConfig, RunConfig
from pcae.settings.values import flatten, to_yaml
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.words import parse
from pcae.settings.yaml_files import read_yaml
from pcae.training.plan import Plan, make_plan

PLAN = Plan(images=1000, steps=500, warmup_steps=1, peak_lr=1.0, batch_size=10, micro_batch=10)
SETTINGS = [
    (PretrainConfig, "checkpoint_every"), (PretrainConfig, "log_every"), (PretrainConfig, "health_every"),
    (PretrainConfig, "knn_every"), (FinetuneConfig, "evaluate_every"), (DetectTrainConfig, "evaluate_every"),
]  # fmt: skip


def value_of(config, name: str):
    return flatten(config)[name]


@pytest.mark.parametrize(("cls", "name"), SETTINGS)
@pytest.mark.parametrize(
    ("word", "steps"), [("7", 7), ("2ep", 200), ("0.5ep", 50), ("0.07ep", 7), ("0.0001ep", 1), ("1e1ep", 1000)]
)
def test_steps_or_epochs_for_every_setting_that_says_how_often(cls, name, word, steps):
    flag = "--" + name.replace("_", "-")
    value = value_of(parse(cls, ["data", "--out", "run", flag, word], "pcae"), name)
    assert PLAN.steps_every(value) == steps


@pytest.mark.parametrize(("cls", "name"), SETTINGS)
@pytest.mark.parametrize("word", ["-1", "often", "ep", "nanep", "infep", "-2ep", "5eps", "1.5 steps"])
def test_what_says_no_interval_is_refused_in_a_line(cls, name, word):
    with pytest.raises(ValueError, match=f"{name} must be .*got") as refused:
        parse(cls, ["data", "--out", "run", f"--{name.replace('_', '-')}={word}"], "pcae")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["checkpoint_every", "log_every", "health_every"])
def test_a_number_with_a_point_is_no_number_of_steps(name):
    """These were steps always, so that it was never epochs: 50.0 of a division is not to become 50 epochs."""
    with pytest.raises(ValueError, match=f"{name} takes steps, such as 500, or epochs, such as 2ep, got 50.0"):
        configure(PretrainConfig, "pretrain", lambda _: "", data="d", out="o", **{name: 50.0})
    with pytest.raises(ValueError, match="must be steps, such as 500, or epochs, such as 2ep or 0.5ep, got '50.0'"):
        parse(PretrainConfig, ["data", "--out", "run", f"--{name.replace('_', '-')}", "50.0"], "pcae")


def test_0_never_looks_at_health_and_is_refused_elsewhere():
    check_bounds(HealthConfig(health_every=0))
    assert PLAN.steps_every(0) == 0
    for config, name in ((RunConfig(log_every=0), "log_every"), (HealthConfig(knn_every="0ep"), "knn_every")):
        with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
            check_bounds(config)


@pytest.mark.parametrize(("text", "steps"), [("10.0", 1000), ("0.85", 85), ("10", 10), ("10ep", 1000), ("'10'", 10)])
def test_a_number_with_a_point_is_epochs_as_older_runs_wrote_it(tmp_path, text, steps):
    (tmp_path / "config.yaml").write_text(
        f"knn_every: {text}\nlog_every: 10\ncheckpoint_every: 500\nhealth_every: null"
    )
    values = read_yaml(PretrainConfig, tmp_path / "config.yaml")
    assert PLAN.steps_every(values["knn_every"]) == steps
    assert (values["log_every"], values["checkpoint_every"]) == (10, 500)


def test_defaults_mean_what_they_meant_and_come_back_from_a_file(tmp_path):
    config = FinetuneConfig(data="d", out=tmp_path)
    assert PLAN.steps_every(config.evaluate_every) == PLAN.steps_of(1.0)
    assert PLAN.steps_every(HealthConfig().knn_every) == PLAN.steps_of(10.0)
    assert yaml.safe_load(to_yaml(config))["evaluate_every"] == "1ep"


@pytest.mark.parametrize(
    ("steps", "every"), [(1, 1), (20, 1), (99, 1), (100, 2), (250, 5), (499, 9), (500, 10), (10**6, 10)]
)
def test_the_log_of_a_short_run_has_fifty_lines_unless_another_interval_is_given(steps, every):
    plan = make_plan(RunConfig(steps=steps), OptimizerConfig(), images=100, processes=1)
    assert plan.log_every(None) == every
    assert math.ceil(steps / every) >= min(steps, 50)
    assert plan.log_every(77) == 77


@pytest.mark.parametrize("value", ["3", "3ep"])
def test_a_file_may_have_them_under_flags(tmp_path, value):
    """The command line's parser says nothing of values of either kind that it did not read itself."""
    names = ["checkpoint_every", "log_every", "health_every", "knn_every"]
    (tmp_path / "mine.yaml").write_text("".join(f"{name}: {value}\n" for name in names))
    config = parse(PretrainConfig, ["data", "--out", "run", "--config", str(tmp_path / "mine.yaml")], "pcae")
    assert [str(value_of(config, name)) for name in names] == [value] * 4
