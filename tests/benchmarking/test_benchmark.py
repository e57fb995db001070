import json
import time
from dataclasses import replace

import pytest
import torch

from pcae.benchmarking import measurements as modes
from pcae.benchmarking.entries import ENTRIES
from pcae.benchmarking.measurements import measure_training
from pcae.benchmarking.speed import conditions_of, endless
from pcae.cli import main
from pcae.data.batches import image_at
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.memory import Alive, kept_bytes
from pcae.evaluation.stepper import Stepper
from pcae.methods.mae import MAE
from pcae.model.encoder import build_encoder
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.reading import DataConfig
from pcae.settings.run import OptimizerConfig
from pcae.settings.verbs.benchmark import BenchmarkConfig
from pcae.training.optimizer import build_optimizer
from pcae.training.randomness import randomness

SIZES = [
    "--model", "vit_tiny_patch16_224", "--image-size", "32", "32", "--patch-size", "8", "--width", "24",
    "--depth", "3", "--heads", "2", "--rounds", "2", "--device", "cpu",
]  # fmt: skip
SMALL = ["benchmark", *SIZES, "--decoder-width", "16", "--decoder-heads", "2", "--batch-size", "2"]
LOADER = ["benchmark", "--mode", "loader", "--data", "sample", "--image-size", "32", "32", "--device", "cpu"]
ENCODER = EncoderConfig(image_size=(32, 32), patch_size=8, channels=3, width=24, depth=3, heads=2)
DECODER = DecoderConfig(decoder_width=16, decoder_heads=2, decoder_depth=2)


def test_every_row_is_measured_in_turns_and_written_with_a_picture(tmp_path, capsys):
    out = tmp_path / "b.json"
    main([*SMALL, "--json", "--out", str(out)])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(out.read_text()) and (tmp_path / "b.png").stat().st_size > 1000
    rows = {row["row"]: row for row in found["rows"]}
    assert len(rows) == 9 and rows["mae"]["times_as_fast"] == 1
    for row in rows.values():
        assert row["least"] <= row["images_per_second"] <= row["most"]
        assert row["per_view"] == pytest.approx(row["times_as_fast"] * row["views"])
        assert 0 < row["kept_bytes"] < row["peak_bytes"]
    assert rows["pcae-85-4-views"]["views"] == 4 and rows["pcae-simmim"]["kept_bytes"] < rows["simmim"]["kept_bytes"]
    assert rows["mae-lite"]["training_gmacs"] < rows["mae"]["training_gmacs"]
    assert all(f"| {name} |" in (tmp_path / "b.md").read_text() for name in rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_our_blocks_are_compiled_where_that_is_asked_for(capsys):
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    row = ["--rows", "pcae-85", "--against", "pcae-85", "--decoder-depth", "1"]
    main([*SMALL, "--json", *row, "--compile", "always"])
    assert json.loads(capsys.readouterr().out)["compiled"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before


def test_blocks_computed_again_keep_less_for_the_backward_pass(capsys):
    kept = []
    for again in ([], ["--grad-checkpointing"]):
        main([*SMALL, "--json", "--rows", "mae", "pcae-85", *again])
        found = json.loads(capsys.readouterr().out)
        assert found["grad_checkpointing"] is bool(again)
        kept.append([row["kept_bytes"] for row in found["rows"]])
    assert all(again < 0.6 * remembered for remembered, again in zip(*kept, strict=True))


@pytest.mark.slow
def test_some_rows_against_one_of_them(capsys):
    main([*SMALL, "--json", "--rows", "pcae-85", "mae-lite", "--against", "mae-lite"])
    found = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in found["rows"]] == ["pcae-85", "mae-lite"]
    assert found["rows"][1]["times_as_fast"] == 1 and found["against"] == "mae-lite"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("transformers", ["--rows", "mae", "transformers"]),
        ("lightly", ["--rows", "lightly", "--against", "lightly"]),
        ("--mae-repo", ["--mae-repo", "mae"]),
        ("--pcae-repo", ["--pcae-repo", "PCAE"]),
        ("pcae-repo", ["--against", "pcae-repo"]),
    ],
)
def test_other_peoples_rows_are_said_to_be_elsewhere_in_one_line(capsys, name, words):
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, *words])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1
    assert f"{name} is other people's code" in said and "python benchmarks/peers.py --help" in said


@pytest.mark.slow
def test_training_from_files_says_how_long_it_waited_for_them(tmp_path, capsys):
    words = [*SMALL, "--rows", "mae", "pcae-85", "--data", "sample", "--steps", "2", "--out", str(tmp_path / "b.json")]
    main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["mode"], found["data"], found["steps"], found["workers"]) == ("train", "sample", 2, 0)
    assert found["encoder"]["channels"] == 1 and all(0 < row["data_wait_share"] < 1 for row in found["rows"])
    assert "waiting for data" in (tmp_path / "b.md").read_text()


def test_batches_are_those_of_pretraining():
    """Crop (by the batch, a gray level beside that of one image), flip and normalisation of seed 0; the data's own
    statistics."""
    images, reading = open_images("sample"), DataConfig(mean=(0.3,), std=(0.4,))
    conditions = conditions_of(BenchmarkConfig(batch_size=4, device="cpu", encoder=ENCODER), torch.device("cpu"))
    first, random = next(endless(BadFiles(images, 0.05), reading, conditions))
    crops = RandomCrops(images, (32, 32), (0.2, 1.0), 0)
    pixels = torch.stack([crops[image_at(place, len(images), 0), place] for place in range(4)])
    flipped = random.uniform("flip") < 0.5
    pixels[flipped] = pixels[flipped].flip(-1)
    torch.testing.assert_close(first, (pixels / 255 - 0.3) / 0.4, rtol=0, atol=1.01 / 255 / 0.4)
    whole, many = DataConfig(crop_scale=(1.0, 1.0)), replace(conditions, batch_size=256)
    own, _ = next(endless(BadFiles(images, 0.05), whole, many))
    assert abs(own.mean()) < 0.15 and abs(own.std() - 1) < 0.15


@pytest.mark.slow
def test_all_rows_take_turns_on_one_stream_and_every_step_counts(monkeypatch):
    taken = 0

    def stream():
        nonlocal taken
        while True:
            taken += 1
            time.sleep(0.02)
            yield torch.randn(2, 3, 32, 32), randomness(0, taken, 2, torch.device("cpu"))

    config = BenchmarkConfig(batch_size=2, rounds=2, steps=3, encoder=ENCODER, decoder=DECODER)
    conditions = conditions_of(config, torch.device("cpu"))
    real = modes.turns

    def in_half_a_second(*words):
        return {name: [0.5, 0.5] for name in real(*words)}

    monkeypatch.setattr(modes, "turns", in_half_a_second)
    found = measure_training([ENTRIES["mae"], ENTRIES["pcae-85"]], "mae", conditions, stream())
    assert taken == 2 * 3 * (1 + 2)  # rows, steps of a turn, turns with the warm-up
    for row in found["rows"]:
        assert row["images_per_second"] == 2 * 3 / 0.5
        assert 6 * 0.02 <= row["data_wait_share"] < 1  # two turns of three steps, of half a second each


def test_with_data_a_turn_is_longer_than_what_readers_have_ready():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert conditions_of(BenchmarkConfig(precision="fp32"), cpu).steps == 1
    assert conditions_of(BenchmarkConfig(precision="fp32"), gpu).steps == 10
    assert conditions_of(BenchmarkConfig(precision="fp32", data="x", reading=DataConfig(workers=6)), gpu).steps == 24
    assert (
        conditions_of(BenchmarkConfig(precision="fp32", data="x", reading=DataConfig(workers=6), steps=3), gpu).steps
        == 3
    )


def test_reading_alone(tmp_path, capsys):
    out = tmp_path / "b.json"
    main([*LOADER, "--batch-size", "8", "--rounds", "3", "--steps", "2", "--json", "--out", str(out)])
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert 0 < row["least"] <= row["images_per_second"] <= row["most"] and found["mode"] == "loader"
    assert "| loader |" in (tmp_path / "b.md").read_text() and (tmp_path / "b.png").stat().st_size > 1000


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_inference_by_drop_ratio_and_batch_size(tmp_path, capsys, monkeypatch, precision):
    monkeypatch.setattr(modes, "side_on", lambda device: 64)  # in bfloat16 a CPU takes very long for 2048
    words = ["--drop-ratios", "0.4", "0", "--batch-sizes", "1", "3", "--precision", precision, "--steps", "2"]
    main(["benchmark", "--mode", "inference", *SIZES, *words, "--json", "--out", str(tmp_path / "b.json")])
    found = json.loads(capsys.readouterr().out)
    rows = {(row["drop_ratio"], row["batch_size"]): row for row in found["rows"]}
    assert [*rows] == [(0.4, 1), (0.0, 1), (0.4, 3), (0.0, 3)]
    for batch in (1, 3):
        assert rows[0.0, batch]["times_as_fast"] == 1 == rows[0.0, batch]["macs_allow"]
        assert rows[0.4, batch]["macs_allow"] == pytest.approx(rows[0.0, 1]["gmacs"] / rows[0.4, 1]["gmacs"])
    assert rows[0.4, 1]["gmacs"] < rows[0.0, 1]["gmacs"] and (tmp_path / "b.png").stat().st_size > 1000
    assert "| 0.4, batch 3 |" in (tmp_path / "b.md").read_text()


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


def test_measuring_what_is_kept_keeps_nothing():
    """The graph goes when it has been measured, although some nodes keep their own results."""
    weight = torch.randn(10, 10, requires_grad=True)
    with Alive([weight]) as alive:
        assert kept_bytes(lambda: (weight @ weight).softmax(dim=-1).sum(), [weight]) > 0
    assert alive.now == weight.nbytes
