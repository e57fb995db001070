import pytest
import torch

from pcae.settings.run import OptimizerConfig, RunConfig
from pcae.training.plan import autocast_dtype, compiles, make_plan


def test_the_papers_numbers_on_imagenet():
    plan = make_plan(RunConfig(), OptimizerConfig(warmup_epochs=40.0), images=1_281_167, processes=8)
    assert (plan.steps, plan.warmup_steps, plan.micro_batch) == (375_342, 50_046, 128)
    assert plan.peak_lr == pytest.approx(6e-4)


def test_a_set_smaller_than_a_batch_still_makes_steps():
    plan = make_plan(RunConfig(epochs=3.0, batch_size=64), OptimizerConfig(), images=20, processes=1)
    assert plan.steps == 1 and plan.epochs == pytest.approx(3.2)


def test_accumulation_does_not_change_the_learning_rate():
    one, two = (make_plan(RunConfig(accumulation=a), OptimizerConfig(), images=5000, processes=1) for a in (1, 2))
    assert one.peak_lr == two.peak_lr and two.micro_batch == one.micro_batch // 2


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (RunConfig(steps=0), "steps must be positive, got 0"),
        (RunConfig(epochs=-1.0), "epochs must be positive"),
        (RunConfig(epochs=1.0, steps=1), "epochs or steps, not both"),
        (RunConfig(batch_size=10, accumulation=4), "batch_size 10 must be a multiple"),
        (RunConfig(batch_size=0), "batch_size must be positive"),
        (RunConfig(epochs=float("nan")), "epochs must be positive"),
        (RunConfig(seed=-1), "seed must lie in"),
    ],
)
def test_runs_that_cannot_be_are_refused_with_the_numbers(run, message):
    with pytest.raises(ValueError, match=message):
        make_plan(run, OptimizerConfig(), images=100, processes=1)


def test_precision_defaults_by_device():
    assert autocast_dtype("auto", torch.device("cpu")) is None
    assert autocast_dtype("bf16", torch.device("cpu")) is torch.bfloat16


@pytest.mark.parametrize(
    ("asked", "steps", "device", "does"),
    [
        ("auto", 1_000, "cuda", True), ("auto", 999, "cuda", False), ("auto", 10**6, "cpu", False),
        ("always", 1, "cpu", True), ("never", 10**6, "cuda", False),
    ],
)  # fmt: skip
def test_blocks_are_compiled_where_it_pays_or_is_asked_for(asked, steps, device, does):
    assert compiles(asked, steps, torch.device(device)) is does
