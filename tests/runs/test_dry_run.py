"""What `--dry-run` of pretrain and finetune says, and that it leaves nothing."""

import json
import shutil

import pytest

from pcae.cli import main
from pcae.methods.mae import MAE
from pcae.model.encoder import build_encoder
from pcae.settings.network import DecoderConfig, EncoderConfig

WORDS = [
    "pretrain", "sample", "--recipe", "sample", "--width", "24", "--depth", "3", "--heads", "2",
    "--decoder-width", "16", "--decoder-heads", "2", "--batch-size", "8", "--device", "cpu",
]  # fmt: skip


def forecast(capsys, out, *words: str) -> dict:
    main([*WORDS, "--out", str(out), "--dry-run", "--json", *words])
    return json.loads(capsys.readouterr().out)


def test_a_forecast_of_hours_memory_and_the_largest_batch_leaves_nothing(tmp_path, capsys):
    found = forecast(capsys, tmp_path / "run", "--steps", "3600", "--method", "mae")
    assert not (tmp_path / "run").exists()
    assert found["hours"] == pytest.approx(8 * 3600 / found["images_per_second"] / 3600)
    assert 0 <= found["data_wait_share"] <= 1 and found["micro_batch"] == 8
    config = EncoderConfig(image_size=(28, 28), patch_size=4, channels=1, width=24, depth=3, heads=2)
    method = MAE(build_encoder(config), None, DecoderConfig(decoder_width=16, decoder_heads=2))
    parameters = sum(parameter.numel() for parameter in method.parameters())
    assert found["peak_bytes"] > 4 * 4 * parameters  # weights, gradients and two moments at least
    assert 8 < found["largest_micro_batch"] < found["memory_bytes"] / 28**2


TUNE = [
    "finetune", "sample", "--from-scratch", "--image-size", "28", "28", "--patch-size", "4", "--width", "24", "--depth",
    "4", "--heads", "2", "--device", "cpu", "--steps", "90", "--dry-run", "--json",
]  # fmt: skip


@pytest.mark.parametrize("batch_size", [2, 6])
def test_fine_tuning_is_forecast_too_whatever_is_blended(tmp_path, capsys, batch_size):
    """Mixup takes even numbers of images alone. Nothing is dropped in what memory is measured on."""
    words = [*TUNE, "--out", str(tmp_path / "run"), "--batch-size", str(batch_size)]
    peaks = []
    for ratio in ("0", "0:0.4"):
        main([*words, "--drop-ratio", ratio, "--drop-start-epochs", "0", "--drop-ramp-epochs", "0"])
        found = json.loads(capsys.readouterr().out)
        assert (found["steps"], found["micro_batch"]) == (90, batch_size) and found["images_per_second"] > 0
        most = found["largest_micro_batch"]
        assert most is None if batch_size == 2 else most > batch_size and most % 2 == 0
        peaks.append(found["peak_bytes"])
    assert peaks[1] == pytest.approx(peaks[0], rel=0.02)
    assert not (tmp_path / "run").exists()


def test_a_frozen_encoder_needs_less_memory_by_the_forecast(tmp_path, capsys):
    peaks = []
    for more in ([], ["--freeze", "2"], ["--freeze", "encoder"]):
        main([*TUNE, "--out", str(tmp_path / "run"), "--batch-size", "16", *more])
        peaks.append(json.loads(capsys.readouterr().out)["peak_bytes"])
    assert peaks[0] > 1.5 * peaks[1] > 2 * peaks[2]


@pytest.mark.slow
def test_more_images_at_once_need_more_memory(tmp_path, capsys):
    few, many = (forecast(capsys, tmp_path / "run", "--steps", "9", "--batch-size", size) for size in ("4", "64"))
    assert many["peak_bytes"] > few["peak_bytes"]
    halved = forecast(capsys, tmp_path / "run", "--steps", "9", "--batch-size", "64", "--accumulation", "8")
    assert halved["micro_batch"] == 8 and halved["peak_bytes"] < many["peak_bytes"]


def test_a_run_that_stands_there_is_forecast_from_where_it_is_and_stays_as_it_is(tmp_path, capsys):
    out = tmp_path / "run"
    main([*WORDS, "--out", str(out), "--steps", "6", "--checkpoint-every", "2"])
    shutil.rmtree(out / "tensorboard")
    for path in (out / "checkpoints").glob("step-00000006*"):
        path.unlink()
    (out / "checkpoints" / "last").write_text("step-00000004.safetensors")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert forecast(capsys, out, "--steps", "6", "--checkpoint-every", "2")["steps"] == 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_run_that_is_over_has_no_forecast(tmp_path, capsys):
    out = tmp_path / "run"
    main([*WORDS, "--out", str(out), "--steps", "1"])
    with pytest.raises(SystemExit) as stop:
        forecast(capsys, out, "--steps", "1")
    assert stop.value.code == 2 and "it is over; there is nothing to forecast" in capsys.readouterr().err


def test_a_run_of_one_step_of_one_image_has_a_forecast(tmp_path, capsys):
    found = forecast(capsys, tmp_path / "run", "--steps", "1", "--batch-size", "1")
    assert found["largest_micro_batch"] is None and found["images_per_second"] > 0
