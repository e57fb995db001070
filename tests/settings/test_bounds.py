"""Bounds of settings hold at their ends, for members too, and are named in one line."""

import math

import pytest

from pcae.settings.bounds import check_bounds
from pcae.settings.reading import DataConfig, PolicyConfig, ViewConfig
from pcae.settings.run import HealthConfig, OptimizerConfig, RunConfig
from pcae.settings.tasks import ClassificationConfig
from pcae.settings.trained import KeepingConfig
from pcae.settings.verbs.finetune import FinetuneConfig


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RunConfig(steps=0), "steps must be positive, got 0"),
        (RunConfig(epochs=math.inf), "epochs must be positive, got inf"),
        (RunConfig(epochs=math.nan), "epochs must be positive, got nan"),
        (RunConfig(seed=2**63), "seed must lie in [0, 2^63), got 9223372036854775808"),
        (RunConfig(most_roll_backs=-1), "most_roll_backs must be 0 or more, got -1"),
        (OptimizerConfig(betas=(0.9, 1.0)), "betas must lie in [0, 1), got 1"),
        (OptimizerConfig(lr_drops=(0.5, 1.0)), "lr_drops must lie in (0, 1), got 1"),
        (DataConfig(crop_scale=(0.0, 1.0)), "crop_scale must lie in (0, 1], got 0"),
        (DataConfig(max_bad_files=1.0), "max_bad_files must lie in [0, 1), got 1"),
        (PolicyConfig(erasing=1.1), "erasing must lie in [0, 1], got 1.1"),
        (ViewConfig(jitter_size=(0, 100)), "jitter_size must lie in [1, 20000], got 0"),
        (ViewConfig(padding=256), "padding must lie in [0, 255], got 256"),
        (HealthConfig(health_every=-1), "health_every must be 0 or more, got -1"),
        (KeepingConfig(seed=-1), "seed must lie in [0, 2^63), got -1"),
        (
            FinetuneConfig(data="d", out="o", task=ClassificationConfig(ema=1.0)),  # pyright: ignore[reportArgumentType]
            "ema must lie in [0, 1), got 1",
        ),
    ],
)
def test_a_value_out_of_bounds_is_named_with_them(config, message):
    with pytest.raises(ValueError) as refused:
        check_bounds(config)
    assert str(refused.value) == message


def test_ends_that_belong_to_a_range_are_taken():
    check_bounds(DataConfig(crop_scale=(1.0, 1.0), max_bad_files=0.0, workers=0, shuffle=1))
    check_bounds(RunConfig(seed=2**63 - 1, most_roll_backs=0))
    check_bounds(PolicyConfig(erasing=1.0))
