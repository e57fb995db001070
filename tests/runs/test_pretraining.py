"""The main job end to end: real images in, a run folder out, the same after an interruption."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file

from pcae.cli import main
from pcae.settings.methods import TeacherConfig
from pcae.settings.network import DecoderConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.words import parse
from pcae.training.checkpoint import read
from pcae.training.logging import read_metrics
from pcae.weights.files import load
from tests.photographs import make_folder
from tests.processes import ended, succeed, together

pytestmark = pytest.mark.trains

TINY = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "16", "--device", "cpu",
]  # fmt: skip


def pretrain(out, *words: str, data: str = "sample") -> None:
    main(["pretrain", data, "--out", str(out), *TINY, *words])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """30 steps, with checkpoints after 12, 24 and 30."""
    out = tmp_path_factory.mktemp("pretrain") / "unbroken"
    pretrain(out, "--steps", "30", "--checkpoint-every", "12", "--keep-checkpoints", "9", "--log-every", "1")
    return out


def steps_of(run):
    """The lines of a run's metrics that are of training steps, not of looks at its health."""
    return [line for line in read_metrics(run) if "loss" in line]


def test_a_run_folder_holds_what_is_promised(unbroken):
    names = {path.name for path in unbroken.iterdir()}
    assert names == {
        "config.yaml", "metrics.jsonl", "tensorboard", "checkpoints", "encoder.safetensors", "decoder.safetensors",
        "summary.json", "report.html",
    }  # fmt: skip
    summary = json.loads((unbroken / "summary.json").read_text())
    assert (summary["images"], summary["steps"], summary["skipped"]) == (9000, 30, 0)
    assert (unbroken / "checkpoints" / "last").read_text() == "step-00000030.safetensors"
    losses = [line["loss"] for line in steps_of(unbroken)]
    assert len(set(losses)) == 30 and all(0 < loss < 2 for loss in losses) and losses[-1] == summary["loss"]


@pytest.mark.slow
@pytest.mark.page
def test_a_finished_run_without_its_page_gets_one(unbroken, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "copy", ignore=shutil.ignore_patterns("report.html"))
    pretrain(folder, "--steps", "30")
    assert "<svg" in (folder / "report.html").read_text()


def test_thirty_steps_equal_twelve_resume_and_eighteen_bit_for_bit(unbroken, tmp_path):
    """With log and checkpoint knobs changed: they do not decide the result."""
    checkpoint = unbroken / "checkpoints" / "step-00000012.safetensors"
    pretrain(tmp_path / "resumed", "--steps", "30", "--resume", str(checkpoint), "--log-every", "5")
    whole, _ = read(unbroken / "checkpoints" / "step-00000030.safetensors")
    resumed, _ = read(tmp_path / "resumed" / "checkpoints" / "step-00000030.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_the_same_command_goes_on_in_the_same_folder(unbroken, tmp_path):
    folder = tmp_path / "cut"
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(unbroken / "checkpoints" / "step-00000012.safetensors", folder / "checkpoints")
    (folder / "checkpoints" / "last").write_text("step-00000012.safetensors")
    (folder / "metrics.jsonl").write_bytes((unbroken / "metrics.jsonl").read_bytes())
    pretrain(folder, "--steps", "30", "--log-every", "1")
    assert [line["step"] for line in steps_of(folder)] == list(range(1, 31))
    whole, resumed = load(unbroken), load(folder)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_finished_run_is_left_as_it_is(unbroken, capsys):
    before = {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()}
    pretrain(unbroken, "--steps", "30", "--json")
    assert json.loads(capsys.readouterr().out)["steps"] == 30
    assert {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "31"], "a run with steps = 30, not 31"),
        (["--steps", "30", "--mask-ratio", "0.6"], "mask_ratio = 0.75, not 0.6"),
        (["--steps", "30", "--resume", "never"], "holds another run"),
        (["--steps", "30", "--mean", "0.5", "--std", "0.5"], "not [0.5] and [0.5]"),
    ],
)
def test_another_run_in_the_folder_is_refused(unbroken, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        pretrain(unbroken, *words)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and message in err and len(err.strip().splitlines()) == 1


def test_its_own_configuration_goes_on_with_it(unbroken, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "copy")
    (folder / "checkpoints" / "last").write_text("step-00000024.safetensors")
    (folder / "summary.json").unlink()
    main(["pretrain", "--config", str(unbroken / "config.yaml"), "--out", str(folder)])
    assert torch.equal(load(folder).encoder.vit.cls_token, load(unbroken).encoder.vit.cls_token)


def test_a_run_cut_off_after_its_last_checkpoint_ends_as_it_would_have(unbroken, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "copy")
    for name in ("summary.json", "encoder.safetensors"):
        (folder / name).unlink()
    pretrain(folder, "--steps", "30")
    losses = [json.loads((run / "summary.json").read_text())["loss"] for run in (unbroken, folder)]
    assert losses[0] == losses[1] > 0 and (folder / "encoder.safetensors").is_file()


def make_photographs(folder, count: int) -> None:
    from sklearn.datasets import load_sample_images

    folder.mkdir(exist_ok=True)
    for index in range(count):
        pixels = load_sample_images().images[index % 2]
        Image.fromarray(pixels[index * 20 : index * 20 + 200, :240]).save(folder / f"a photo {index}.jpg")


SIZES = ["--image-size", "32", "48", "--patch-size", "8", "--batch-size", "4"]


def test_other_images_in_the_folder_are_another_run(tmp_path, capsys):
    make_photographs(tmp_path / "photos", 5)
    words = [*SIZES, "--epochs", "1"]
    pretrain(tmp_path / "run", *words, data=str(tmp_path / "photos"))
    make_photographs(tmp_path / "photos", 6)
    with pytest.raises(SystemExit):
        pretrain(tmp_path / "run", *words, data=str(tmp_path / "photos"))
    assert "is of a run with" in capsys.readouterr().err


PHOTOS = ["--image-size", "32", "32", "--patch-size", "8", "--batch-size", "8", "--epochs", "2"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_photographs_of_all_formats_train_and_the_three_unreadable_ones_are_named(tmp_path, capsys, workers):
    torn = make_folder(tmp_path / "photos", 60, bad=3)
    pretrain(tmp_path / "run", *PHOTOS, "--workers", workers, data=str(tmp_path / "photos"))
    said = capsys.readouterr().err
    last = next(line for line in said.splitlines() if "3 of 60 images cannot be read" in line)
    rows = [json.loads(line) for line in (tmp_path / "run" / "bad-files.jsonl").read_text().splitlines()]
    assert [Path(row["file"]).name for row in rows] == sorted(torn) and all(row["reason"] for row in rows)
    assert all(name in last for name in torn) and "60 images, 15 steps of 8 = 2 epochs" in said
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["bad_files"] == 3


@pytest.mark.parametrize("statistics", [[], ["--mean", "0.5", "0.5", "0.5", "--std", "0.2", "0.2", "0.2"]])
def test_a_tenth_unreadable_stops_the_run_and_names_them(tmp_path, capsys, statistics):
    """Before the first step where the statistics are computed, at the first look where they are given."""
    torn = make_folder(tmp_path / "photos", 60, bad=6)
    with pytest.raises(SystemExit) as stop:
        pretrain(tmp_path / "run", *PHOTOS, *statistics, "--log-every", "1", data=str(tmp_path / "photos"))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and "images cannot be read" in last and "--max-bad-files 0.05" in last
    named = [name for name in torn if name in last]
    assert len(named) > 3 if statistics else len(named) == 6
    if statistics:  # it had begun: what it found is kept, and it goes on when more is allowed
        assert len((tmp_path / "run" / "bad-files.jsonl").read_text().splitlines()) == len(named)
        pretrain(tmp_path / "run", *PHOTOS, *statistics, "--max-bad-files", "0.1", data=str(tmp_path / "photos"))
        assert "6 of 60 images cannot be read" in capsys.readouterr().err
    else:
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_name_the_files_that_either_could_not_read(tmp_path):
    torn = make_folder(tmp_path / "photos", 60, bad=3)
    for processes, name in ((1, "one"), (2, "two")):
        words = ["pretrain", str(tmp_path / "photos"), "--out", str(tmp_path / name), *TINY, *PHOTOS]
        said = succeed(*together(["pcae", *words], processes))
        assert "".join(said).count("3 of 60 images cannot be read") == 1
    lines = [(tmp_path / name / "bad-files.jsonl").read_text() for name in ("one", "two")]
    assert lines[0] == lines[1] and all(name in lines[0] for name in torn)
    losses = [json.loads((tmp_path / name / "summary.json").read_text())["loss"] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.slow
def test_wrong_input_is_the_same_line_in_every_process(tmp_path):
    make_folder(tmp_path / "photos", 20, bad=3)
    for data, message in (("gone", "is neither a folder"), ("photos", "3 of 20 images cannot be read")):
        words = [str(tmp_path / data), "--out", str(tmp_path / "run"), *TINY, *PHOTOS]
        for rank, (status, said) in enumerate(ended(*together(["pcae", "pretrain", *words]))):
            last = said.strip().splitlines()[-1]
            assert status == 2 and message in last and last.startswith("pcae (process 1): " if rank else "pcae: ")
            assert "Connection closed" not in said
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_file_that_is_torn_while_the_run_goes_on_is_found_again_after_a_resume(tmp_path, capsys):
    make_folder(tmp_path / "photos", 60, bad=1)
    words = [*PHOTOS, "--checkpoint-every", "5"]
    pretrain(tmp_path / "run", *words, data=str(tmp_path / "photos"))
    (tmp_path / "run" / "checkpoints" / "last").write_text("step-00000010.safetensors")
    for name in ("summary.json", "encoder.safetensors"):
        (tmp_path / "run" / name).unlink()
    capsys.readouterr()
    pretrain(tmp_path / "run", *words, data=str(tmp_path / "photos"))
    assert "1 of 60 images cannot be read" in capsys.readouterr().err


def test_many_bands_train_and_embed_with_the_pixel_range_of_the_run(tmp_path):
    (tmp_path / "bands").mkdir()
    noise = np.random.default_rng(0)
    for index in range(8):
        pixels = noise.integers(0, 4096, (5, 40, 48)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "bands" / f"{index}.tif", pixels, photometric="minisblack")
    words = [*SIZES, "--steps", "2", "--channels", "5", "--pixel-range", "0", "4095"]
    pretrain(tmp_path / "run", *words, data=str(tmp_path / "bands"))
    model = load(tmp_path / "run")
    assert model.facts.encoder.channels == 5 and model.facts.pixel_range == (0, 4095)
    assert model.facts.mean == pytest.approx([0.5] * 5, abs=0.01)
    main(["embed", str(tmp_path / "bands"), "--weights", str(tmp_path / "run"), "--out", str(tmp_path / "a.npy")])
    assert np.load(tmp_path / "a.npy").shape == (8, 24)


def test_embed_to_parquet_leaves_out_what_cannot_be_read(unbroken, tmp_path, capsys):
    torn = make_folder(tmp_path / "photos", 21, bad=1)
    words = ["embed", str(tmp_path / "photos"), "--weights", str(unbroken), "--json"]
    main([*words, "--out", str(tmp_path / "a.parquet")])
    said = capsys.readouterr()
    table = parquet.read_table(tmp_path / "a.parquet")
    main([*words, "--out", str(tmp_path / "a.npy")])
    assert np.array_equal(np.stack(table["embedding"].to_numpy()), np.load(tmp_path / "a.npy"))
    assert table["path"].to_pylist() == json.loads((tmp_path / "a.files.json").read_text()) and len(table) == 20
    assert torn[0] in said.err and list(json.loads(said.out)["bad_files"]) == [str(tmp_path / "photos" / torn[0])]
    with pytest.raises(SystemExit):
        main([*words, "--out", str(tmp_path / "b.parquet"), "--max-bad-files", "0.04"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.files.json", "a.npy", "a.parquet", "photos"]


def test_a_run_too_short_for_one_step_of_accumulation_still_makes_it(tmp_path, capsys):
    """MAE's code would make none: its accumulation is longer than an epoch (mae#49)."""
    make_photographs(tmp_path / "photos", 5)
    words = [*SIZES[:-2], "--batch-size", "32", "--accumulation", "4", "--epochs", "0.1"]
    pretrain(tmp_path / "run", *words, data=str(tmp_path / "photos"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    said = capsys.readouterr().err
    assert (summary["steps"], summary["epochs"]) == (1, 32 / 5)
    assert "effective batch 32 = 1 x cpu x 4 micro-batches of 8" in said and "(0.1562 steps an epoch)" in said
    assert "a step of 32 shows each of the 5 images 6.4 times" in said and "tokens per image: 4 x 6 = 24" in said


def test_the_statistics_of_the_data_are_stored_and_reused(unbroken):
    model = load(unbroken)
    assert model.facts.mean == pytest.approx([0.286], abs=0.01) and model.facts.std == pytest.approx([0.353], abs=0.01)
    _, header = read(unbroken / "checkpoints" / "step-00000012.safetensors")
    assert header["mean"] == model.facts.mean
    assert yaml.safe_load((unbroken / "config.yaml").read_text())["mean"] == model.facts.mean


def test_embed_is_deterministic_and_names_its_rows(unbroken, tmp_path, capsys):
    for name in ("a", "b"):
        main(["embed", "sample", "--split", "test", "--weights", str(unbroken), "--out", str(tmp_path / f"{name}.npy")])
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    features = np.load(tmp_path / "a.npy")
    assert features.shape == (1000, 24) and features.dtype == np.float32 and features.std() > 0
    names = json.loads((tmp_path / "a.files.json").read_text())
    assert names[3] == "sample/test/3" and len(names) == 1000


@pytest.mark.slow
def test_from_python_it_is_the_same_run(unbroken, tmp_path):
    import pcae

    knobs = {"width": 24, "depth": 4, "heads": 2, "decoder_width": 16, "decoder_heads": 2, "batch_size": 16}
    summary = pcae.pretrain("sample", tmp_path / "run", recipe="sample", steps=30, device="cpu", **knobs)
    assert summary["steps"] == 30
    features = [pcae.embed(pcae.load(run), pcae.open_images("sample", "test")) for run in (unbroken, tmp_path / "run")]
    assert torch.equal(*features)
    with pytest.raises(ValueError, match="unknown key 'step'; did you mean 'steps'"):
        pcae.pretrain("sample", tmp_path / "other", step=3)


@pytest.mark.slow
def test_probe_prints_knn_of_encoder_and_pixels(unbroken, capsys):
    main(["probe", "sample", "--weights", str(unbroken), "--probes", "knn", "--pixels", "--json"])
    result = json.loads(capsys.readouterr().out)
    found = {row["features"]: row["accuracy"] for row in result["probes"]}
    assert result["images"]["train"] == 9000 and 0 < found["mean"] < 1 and found["raw pixels"] > 0.7


def test_a_flat_folder_of_photographs_trains_with_workers(tmp_path, capsys):
    make_photographs(tmp_path / "photos", 8)
    words = [*SIZES, "--steps", "2", "--workers", "1", "--crop-scale", "0.2", "1.0"]
    pretrain(tmp_path / "run", *words, data=str(tmp_path / "photos"))
    assert "8 images, 2 steps of 4" in capsys.readouterr().err
    model = load(tmp_path / "run")
    assert model.facts.encoder == replace(model.facts.encoder, channels=3, image_size=(32, 48))


def test_a_recipe_leaves_out_what_another_method_does_not_have_or_has_otherwise(tmp_path):
    """imagenet-vit-b-mask85 with --method mae: MAE's own decoder and mask ratio, and no momentum."""
    words = ["sample", "--out", str(tmp_path), "--recipe", "imagenet-vit-b-mask85"]
    mae = parse(PretrainConfig, [*words, "--method", "mae"], "pcae pretrain")
    assert (mae.method.mask_ratio, mae.decoder.decoder_depth, mae.method.teacher.momentum) == (None, None, None)
    assert mae.run.batch_size == 1024 and mae.decoder.decoder_width == 512
    own = parse(PretrainConfig, words, "pcae pretrain")
    assert (own.method.mask_ratio, own.method.teacher.momentum) == (0.85, 0.9999)
    simmim = parse(PretrainConfig, [*words[:-1], "sample", "--method", "simmim"], "pcae pretrain")
    assert simmim.decoder == DecoderConfig() and simmim.method.teacher == TeacherConfig()
    both = parse(PretrainConfig, [*words, "--method", "pcae-simmim"], "pcae pretrain")
    assert (both.method.teacher.momentum, both.method.mask_ratio, both.decoder) == (0.9999, None, DecoderConfig())
    taught = parse(PretrainConfig, [*words, "--teacher", "w"], "pcae pretrain")
    assert taught.method.teacher.momentum is None


@pytest.mark.parametrize("method", ["mae", "simmim", "pcae-simmim", "mae-discard"])
def test_every_method_trains_goes_on_and_is_probed(tmp_path, method):
    whole = tmp_path / "whole"
    words = ["pretrain", "sample", "--recipe", "sample", "--method", method, "--width", "24", "--depth", "3"]
    words += ["--heads", "2", "--batch-size", "4", "--device", "cpu", "--checkpoint-every", "2"]
    main([*words, "--steps", "6", "--out", str(whole)])
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken)
    for path in (
        broken / "encoder.safetensors",
        broken / "summary.json",
        *sorted((broken / "checkpoints").glob("step-*"))[1:],
    ):
        path.unlink()
    remaining = next((broken / "checkpoints").glob("step-*"))
    (broken / "checkpoints" / "last").write_text(remaining.name)
    main([*words, "--steps", "6", "--out", str(broken)])
    one, other = (load_file(folder / "encoder.safetensors") for folder in (whole, broken))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert (whole / "decoder.safetensors").exists() is ("simmim" not in method)
    summary = json.loads((broken / "summary.json").read_text())
    assert summary["steps"] == 6 and summary["seconds"] > 0


@pytest.mark.parametrize(
    "words",
    [
        ["--grad-checkpointing"],
        pytest.param(
            ["--compile", "always"],
            marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")],
        ),
    ],
)
def test_how_blocks_are_computed_decides_nothing_but_memory_and_time(unbroken, tmp_path, words):
    """It may change when a run goes on, too."""
    go_on = str(unbroken / "checkpoints" / "step-00000024.safetensors")
    pretrain(tmp_path / "other", "--steps", "30", "--resume", go_on, *words)
    once, twice = (load_file(folder / "encoder.safetensors") for folder in (unbroken, tmp_path / "other"))
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=1e-3, atol=1e-4)


def test_without_a_compiler_a_run_is_refused_only_where_it_was_asked_to_compile(tmp_path, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(SystemExit, match="2"):
        pretrain(tmp_path / "always", "--steps", "2", "--compile", "always")
    said = capsys.readouterr().err
    assert "blocks cannot be compiled here (no compiler); use --compile never" in said
    assert not (tmp_path / "always").exists()
    monkeypatch.setattr("pcae.runs.compiling.compiles", lambda *_: True)
    pretrain(tmp_path / "auto", "--steps", "2")
    assert (tmp_path / "auto" / "encoder.safetensors").is_file()
    assert "no compiler" in "".join(capsys.readouterr())
