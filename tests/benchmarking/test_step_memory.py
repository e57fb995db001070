"""benchmarks/step_memory.py: the peak of a step without data is that of one with data."""

from dataclasses import replace

import pytest
import torch
from benchmarks.step_memory import measure, peak

from pcae.benchmarking.entries import ENTRIES, Conditions, stepper_of
from pcae.settings.network import DecoderConfig, EncoderConfig

CONDITIONS = Conditions(
    encoder=EncoderConfig(image_size=(32, 32), patch_size=4, channels=3, width=48, depth=3, heads=2),
    decoder=DecoderConfig(decoder_width=32, decoder_heads=2, decoder_depth=2),
    batch_size=32,
    steps=1,
    rounds=1,
    device=torch.device("cpu"),
    autocast=None,
    compiled=False,
)


@pytest.mark.parametrize("name", ["mae", "pcae-85"])
def test_the_peak_without_data_is_that_with_data(name):
    found = peak(ENTRIES[name].build(CONDITIONS), 32, CONDITIONS)
    assert found == pytest.approx(stepper_of(ENTRIES[name], CONDITIONS).peak(), rel=0.02)


@pytest.mark.slow
def test_an_image_takes_less_in_ours_and_in_mae_when_blocks_are_computed_again():
    rows = measure(["mae", "pcae-85"], [128, 256], replace(CONDITIONS, autocast=torch.bfloat16))["rows"]
    mae, mae_again, ours, ours_again = (row["per_image_bytes"] for row in rows)
    assert 0 < mae_again < mae and 0 < ours < mae and ours_again > 0
