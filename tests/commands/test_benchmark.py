import json

import pytest
import torch

from pcae.cli import main
from pcae.evaluation.memory import kept_bytes
from pcae.evaluation.peers import LightlyMAE, TransformersMAE
from pcae.evaluation.stepper import Stepper
from pcae.methods.mae import MAE
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import EncoderConfig, build_encoder
from pcae.training.optimizer import OptimizerConfig, build_optimizer
from pcae.training.randomness import randomness

SMALL = [
    "benchmark", "--model", "vit_tiny_patch16_224", "--image-size", "32", "32", "--patch-size", "8", "--width", "24",
    "--depth", "3", "--heads", "2", "--decoder-width", "16", "--decoder-heads", "2", "--batch-size", "2",
    "--rounds", "2", "--device", "cpu",
]  # fmt: skip
ENCODER = EncoderConfig(image_size=(32, 32), patch_size=8, channels=3, width=24, depth=3, heads=2)
DECODER = DecoderConfig(decoder_width=16, decoder_heads=2, decoder_depth=2)


def test_every_row_is_measured_in_turns_and_written_with_a_picture(tmp_path, capsys):
    out = tmp_path / "b.json"
    main([*SMALL, "--json", "--out", str(out)])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(out.read_text()) and (tmp_path / "b.png").stat().st_size > 1000
    rows = {row["row"]: row for row in found["rows"]}
    assert len(rows) == 11 and rows["mae"]["times_as_fast"] == 1
    for row in rows.values():
        assert row["least"] <= row["images_per_second"] <= row["most"]
        assert row["per_view"] == pytest.approx(row["times_as_fast"] * row["views"])
        assert 0 < row["kept_bytes"] < row["peak_bytes"]
    assert rows["pcae-85-4-views"]["views"] == 4 and rows["pcae-simmim"]["kept_bytes"] < rows["simmim"]["kept_bytes"]
    assert rows["mae-lite"]["training_gmacs"] < rows["mae"]["training_gmacs"]
    assert all(f"| {name} |" in (tmp_path / "b.md").read_text() for name in rows)


def test_some_rows_against_one_of_them(capsys):
    main([*SMALL, "--json", "--rows", "pcae-85", "transformers", "--against", "transformers"])
    found = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in found["rows"]] == ["pcae-85", "transformers"]
    assert found["rows"][1]["times_as_fast"] == 1 and found["against"] == "transformers"


@pytest.mark.parametrize("peer", [TransformersMAE, LightlyMAE])
def test_peers_learn_in_our_loop(peer):
    """The loss of random weights is near 1 (normalised pixels), and falls."""
    torch.manual_seed(0)
    method, images = peer(ENCODER, DECODER), torch.randn(4, 3, 32, 32)
    optimizer = build_optimizer(method, OptimizerConfig())
    draw = randomness(0, 0, 4, images.device)
    before = method(images, draw).loss
    stepper = Stepper(method, optimizer, images, None)
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    for _ in range(20):
        method(images, draw).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert 0.8 < before < 4 and method(images, draw).loss < before and stepper.progress.step == 1


def test_a_step_is_the_loops_and_moves_the_weights():
    torch.manual_seed(0)
    method = MAE(build_encoder(ENCODER), None, DECODER)
    before = method.student.vit.blocks[0].mlp.fc1.weight.detach().clone()
    stepper = Stepper(method, build_optimizer(method, OptimizerConfig()), torch.randn(2, 3, 32, 32), None)
    assert stepper.progress.step == 1 and not torch.equal(before, method.student.vit.blocks[0].mlp.fc1.weight)


def test_what_is_kept_for_the_backward_pass_counts_once_and_without_parameters():
    """x -> tanh -> tanh keeps its two results; of a product with a weight the other factor."""
    weight, x = torch.randn(10, 10, requires_grad=True), torch.randn(7, 10)
    assert kept_bytes(lambda: (x @ weight).sum(), [weight]) == 7 * 10 * 4
    assert kept_bytes(lambda: (x @ weight).sum(), [weight, x]) == 0
    assert kept_bytes(lambda: (x @ weight).tanh().tanh().sum(), [weight, x]) == 2 * 7 * 10 * 4
