"""The teacher of a run is the one that trained it, at any image size."""

from pathlib import Path

import pytest
import torch

from pcae.cli import main
from pcae.training.checkpoint import Checkpoints, read
from pcae.weights.files import load
from pcae.weights.teacher import load_teacher, teacher_tensors

pytestmark = pytest.mark.trains

SMALL = [
    "--recipe", "sample", "--width", "24", "--depth", "3", "--heads", "2", "--decoder-width", "16", "--decoder-heads",
    "2", "--batch-size", "8", "--steps", "3", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    main(["pretrain", "sample", "--out", str(out), *SMALL, "--momentum", "0.9"])
    return out


def test_it_is_the_moving_average_and_not_the_encoder(run):
    found = load_teacher(run)
    assert found is not None and "moving-average teacher" in found[1]
    newest = Checkpoints(run / "checkpoints", 1).last()
    assert newest is not None
    whole, _ = read(newest)
    for name, value in found[0].encoder.vit.state_dict().items():
        assert torch.equal(value, whole[f"method.teacher.encoder.vit.{name}"]), name
    other = load(run).encoder.vit.state_dict()
    assert not torch.equal(
        found[0].encoder.vit.state_dict()["blocks.0.mlp.fc1.weight"], other["blocks.0.mlp.fc1.weight"]
    )
    assert not found[0].training


def test_its_positions_are_resized_as_the_encoders_are(run):
    found = load_teacher(run, image_size=(32, 56))
    assert found is not None and found[0].encoder.grid == (8, 14)
    torch.testing.assert_close(found[0].encoder.vit.pos_embed, load(run, image_size=(32, 56)).encoder.vit.pos_embed)


def test_a_run_without_checkpoints_or_teacher_has_none(run, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "encoder.safetensors").write_bytes((run / "encoder.safetensors").read_bytes())
    assert load_teacher(tmp_path / "bare") is None
    main(["pretrain", "sample", "--out", str(tmp_path / "mae"), *SMALL, "--method", "mae"])
    assert load_teacher(tmp_path / "mae") is None


def test_a_fixed_teacher_is_read_from_where_the_run_had_it(run, tmp_path):
    words = ["--teacher", str(run), "--width", "48"]
    main(["pretrain", "sample", "--out", str(tmp_path / "run"), *SMALL, *words])
    found = load_teacher(tmp_path / "run")
    assert found is not None and str(run) in found[1] and found[0].encoder.width == 24


def test_a_damaged_checkpoint_is_named(run, tmp_path):
    (tmp_path / "half.safetensors").write_bytes(next((run / "checkpoints").glob("*.safetensors")).read_bytes()[:3000])
    with pytest.raises(ValueError, match="half.safetensors is no whole safetensors file"):
        teacher_tensors(tmp_path / "half.safetensors")
