"""From weights to a classifier, the same after an interruption; wrong input is one line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import pcae
from pcae.cli import main
from pcae.settings.trained import Rule
from pcae.training.checkpoint import read
from pcae.training.logging import best_so_far, read_metrics
from pcae.weights.files import load
from tests.processes import assert_same, state, succeed, together

pytestmark = pytest.mark.trains

PRETRAIN = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "16", "--steps", "2", "--device", "cpu",
]  # fmt: skip
FINETUNE = [
    "--recipe", "finetune-small", "--batch-size", "16", "--steps", "12", "--drop-ratio", "0:0.4", "--mixup", "0.8",
    "--cutmix", "1", "--drop-path", "0.2", "--ema", "0.5", "--auto-augment", "rand-m9-mstd0.5-inc1",
    "--evaluate-every", "0.5", "--drop-start-epochs", "0", "--device", "cpu",
]  # fmt: skip


def make_shapes(folder: Path, count: int, classes: tuple[str, ...] = ("dark", "light", "striped")) -> Path:
    """Gray pictures that a small network tells apart at once."""
    generator = torch.Generator().manual_seed(0)
    for split, number in (("train", count), ("val", count // 2)):
        for place, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for index in range(number):
                pixels = torch.randint(0, 90, (28, 28), generator=generator, dtype=torch.uint8)
                pixels += torch.tensor([0, 150, 0], dtype=torch.uint8)[place]
                if place == 2:
                    pixels[::4] = 255
                Image.fromarray(pixels.numpy()).save(folder / split / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("shapes"), 16)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("encoder") / "run"
    main(["pretrain", "sample", "--out", str(out), *PRETRAIN])
    return out


def finetune(data: Path, weights: Path, out: Path, *words: str) -> None:
    main(["finetune", str(data), "--weights", str(weights), "--out", str(out), *FINETUNE, *words])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, shapes, encoder) -> Path:
    """12 steps, with checkpoints after 5, 10 and 12."""
    out = tmp_path_factory.mktemp("finetune") / "unbroken"
    finetune(shapes, encoder, out, "--checkpoint-every", "5", "--keep-checkpoints", "9", "--log-every", "1")
    return out


def test_a_run_folder_holds_what_is_promised(unbroken):
    assert {path.name for path in unbroken.iterdir()} == {
        "config.yaml", "metrics.jsonl", "tensorboard", "checkpoints", "classifier.safetensors", "best.safetensors",
        "confusion.png", "summary.json", "report.html",
    }  # fmt: skip
    summary = json.loads((unbroken / "summary.json").read_text())
    assert (summary["images"], summary["held_out"], summary["classes"], summary["steps"]) == (48, 24, 3, 12)
    assert summary["best_top1"] >= summary["top1"] and summary["top5"] == 1
    rows = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "top1" in row] == [2, 4, 6, 8, 10, 12]
    drawn = {round(row["drop_ratio"], 6) for row in rows if "drop_ratio" in row}
    assert len(drawn) > 1 and drawn <= {0, 0.1, 0.2, 0.3, 0.4}
    assert (unbroken / "confusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.page
def test_a_finished_run_without_its_page_gets_one(unbroken, shapes, encoder, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "copy", ignore=shutil.ignore_patterns("report.html"))
    finetune(shapes, encoder, folder)
    assert "<svg" in (folder / "report.html").read_text()


def test_the_classifier_knows_what_it_is(unbroken):
    facts = load(unbroken).facts
    assert facts.classes == ["dark", "light", "striped"] and facts.drop_ratios == (0.0, 0.4)
    assert facts.global_pool == "avg" and facts.encoder.channels == 1


def test_a_run_that_pools_dropped_tokens_is_another_and_its_weights_know_it(unbroken, shapes, encoder, tmp_path):
    finetune(shapes, encoder, tmp_path / "pooled", "--pool-dropped", "--log-every", "1")
    model, plain = load(tmp_path / "pooled"), load(unbroken)
    assert model.facts == replace(plain.facts, rule=Rule(fold="pool"))
    assert model.classifier(0.3).reduced.reduction.fold == "pool"
    summary = json.loads((tmp_path / "pooled" / "summary.json").read_text())
    assert summary["fold"] == "pool" and json.loads((unbroken / "summary.json").read_text())["fold"] == "append"
    losses = [[row["loss"] for row in read_metrics(run) if "loss" in row] for run in (tmp_path / "pooled", unbroken)]
    assert losses[0][0] == losses[1][0] and losses[0][-1] != losses[1][-1]  # nothing is dropped in the first step


def test_weights_that_were_fine_tuned_by_random_tokens_are_evaluated_so_and_not_exported(
    shapes, encoder, tmp_path, capsys
):
    finetune(shapes, encoder, tmp_path / "control", "--criterion", "random", "--steps", "4")
    model = load(tmp_path / "control")
    assert model.facts.rule.criterion == "random"
    kept = [model.classifier(0.4).reduced.encode(torch.zeros(2, 1, 28, 28)).stages[0].kept_ids for _ in range(2)]
    assert torch.equal(*kept) and not torch.equal(*kept[0])  # each image has its own, the same in every evaluation
    capsys.readouterr()
    weights = ["--weights", str(tmp_path / "control")]
    for words, criterion in (([], "random"), (["--criterion", "mean-similarity"], "mean-similarity")):
        main(["evaluate", str(shapes), *weights, "--rounds", "0", "--json", *words])
        assert json.loads(capsys.readouterr().out)["criterion"] == criterion
    with pytest.raises(SystemExit) as stop:
        main(["export", *weights, "--to", "torch-export", "--out", str(tmp_path / "a.pt2"), "--drop-ratio", "0.4"])
    assert stop.value.code == 2 and not (tmp_path / "a.pt2").exists()
    assert "criterion random is a control that is not exported" in capsys.readouterr().err


def test_twelve_steps_equal_five_resume_and_seven_bit_for_bit(unbroken, shapes, encoder, tmp_path):
    """Mixing, distortions, drop path, the dial and the average go on as they would have."""
    checkpoint = unbroken / "checkpoints" / "step-00000005.safetensors"
    finetune(shapes, encoder, tmp_path / "resumed", "--resume", str(checkpoint))
    whole, resumed = (
        read(folder / "checkpoints" / "step-00000012.safetensors")[0] for folder in (unbroken, tmp_path / "resumed")
    )
    assert whole.keys() == resumed.keys() and any(name.startswith("method.average") for name in whole)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_the_same_command_goes_on_in_the_same_folder(unbroken, shapes, encoder, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "cut")
    (folder / "checkpoints" / "last").write_text("step-00000005.safetensors")
    for name in ("summary.json", "classifier.safetensors", "best.safetensors"):
        (folder / name).unlink()
    finetune(shapes, encoder, folder, "--log-every", "1")
    assert best_so_far(folder, "top1") == best_so_far(unbroken, "top1")
    for one, other in zip(load(unbroken).parameters(), load(folder).parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_finished_run_is_left_as_it_is(unbroken, shapes, encoder):
    before = {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()}
    finetune(shapes, encoder, unbroken, "--log-every", "1")
    assert {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()} == before


def test_a_finished_run_without_its_checkpoints_is_not_trained_again(unbroken, shapes, encoder, tmp_path, capsys):
    folder = shutil.copytree(unbroken, tmp_path / "copy")
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(SystemExit):
        finetune(shapes, encoder, folder, "--log-every", "1")
    assert "holds a finished run without its checkpoints" in capsys.readouterr().err


def test_a_finished_run_that_was_moved_says_where_it_is_now(unbroken, shapes, encoder, tmp_path, capsys):
    folder = shutil.copytree(unbroken, tmp_path / "moved")
    finetune(shapes, encoder, folder, "--log-every", "1", "--json")
    assert json.loads(capsys.readouterr().out)["weights"] == str(folder / "classifier.safetensors")


def test_the_dial_in_a_file_is_the_dial(shapes, encoder, tmp_path):
    (tmp_path / "mine.yaml").write_text("drop-ratio: 0:0.4\nsteps: 1\nbatch-size: 4\ndevice: cpu\n")
    words = ["--weights", str(encoder), "--config", str(tmp_path / "mine.yaml"), "--recipe", "finetune-small"]
    main(["finetune", str(shapes), "--out", str(tmp_path / "run"), *words])
    assert load(tmp_path / "run").facts.drop_ratios == (0.0, 0.4)


def test_a_run_cut_off_after_its_last_checkpoint_ends_as_it_would_have(unbroken, shapes, encoder, tmp_path):
    folder = shutil.copytree(unbroken, tmp_path / "copy")
    for name in ("summary.json", "classifier.safetensors", "confusion.png"):
        (folder / name).unlink()
    finetune(shapes, encoder, folder, "--log-every", "1")
    kept = ("top1", "best_top1", "loss", "steps", "held_out")
    summaries = [json.loads((run / "summary.json").read_text()) for run in (unbroken, folder)]
    assert [summaries[0][name] for name in kept] == [summaries[1][name] for name in kept]
    assert (folder / "classifier.safetensors").read_bytes() == (unbroken / "classifier.safetensors").read_bytes()


@pytest.mark.slow
def test_two_processes_equal_one(shapes, encoder, tmp_path):
    finetune(shapes, encoder, tmp_path / "one")
    words = ["finetune", str(shapes), "--weights", str(encoder), "--out", str(tmp_path / "two"), *FINETUNE]
    succeed(*together(["pcae", *words]))
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two")]
    assert summaries[0]["held_out"] == summaries[1]["held_out"] == 24
    assert summaries[0]["loss"] == pytest.approx(summaries[1]["loss"], abs=1e-4)
    for one, other in zip(load(tmp_path / "one").parameters(), load(tmp_path / "two").parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)


@pytest.mark.parametrize("words", [["--freeze", "encoder"], ["--freeze", "2", "--optimizer", "muon"]], ids=["all", "2"])
def test_a_frozen_encoder_is_that_of_the_weights_and_a_run_of_it_goes_on(shapes, encoder, tmp_path, words):
    """To the bit; what is not trained has no state in a checkpoint. How often things are done may change on the way."""
    every = ["--checkpoint-every", "2ep", "--log-every", "1ep", "--evaluate-every", "3", "--keep-checkpoints", "9"]
    finetune(shapes, encoder, tmp_path / "run", *words, *every)
    for name in ("loss", "top1"):
        assert [line["step"] for line in read_metrics(tmp_path / "run") if name in line] == [3, 6, 9, 12]
    before, after = read(encoder / "encoder.safetensors")[0], state(tmp_path / "run", 12)
    names = [name for name in before if "2" not in words or not name.startswith("norm.")]  # average pooling has its own
    assert len(names) > 40
    for name in names:
        moved = "2" in words and name.startswith(("blocks.2.", "blocks.3."))
        for network in ("method.model.vit", "method.average"):
            assert torch.equal(before[name], after[f"{network}.{name}"]) is not moved, name
        assert any(key.startswith(f"optimizer.model.vit.{name}.") for key in after) is moved, name
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    (tmp_path / "cut" / "checkpoints" / "last").write_text("step-00000006.safetensors")
    for name in ("summary.json", "classifier.safetensors"):
        (tmp_path / "cut" / name).unlink()
    finetune(shapes, encoder, tmp_path / "cut", *words, "--log-every", "2", "--checkpoint-every", "1ep")
    assert_same(tmp_path / "run", tmp_path / "cut", 12)


def test_a_frozen_classifier_is_read_back_from_a_folder_of_timms(shapes, encoder, tmp_path):
    """Its norm stands before average pooling, where timm's network of that name has it behind."""
    finetune(shapes, encoder, tmp_path / "run", "--freeze", "encoder", "--steps", "1")
    main(["export", "--weights", str(tmp_path / "run"), "--to", "timm", "--out", str(tmp_path / "timm")])
    ours, theirs = load(tmp_path / "run"), load(tmp_path / "timm")
    images = torch.randint(0, 256, (2, ours.encoder.channels, *ours.encoder.image_size), dtype=torch.uint8)
    torch.testing.assert_close(theirs.classifier(0.3, **vars(ours.facts.rule))(images), ours.classifier(0.3)(images))


def test_the_norm_of_weights_behind_an_average_is_not_lost(shapes, encoder, tmp_path):
    finetune(shapes, encoder, tmp_path / "run", "--steps", "1")
    with pytest.raises(SystemExit):
        finetune(shapes, tmp_path / "run", tmp_path / "other", "--freeze", "encoder", "--global-pool", "token")
    assert not (tmp_path / "other").exists()


def test_other_labels_of_the_same_images_are_another_run(shapes, encoder, tmp_path, capsys):
    table, paths = tmp_path / "list.csv", sorted(map(str, shapes.rglob("*.png")))
    words = ["--val-fraction", "0.5", "--steps", "2", "--resume", "auto"]
    for names in ("ab", "ba"):
        rows = [f"{path},{names[row % 2]}" for row, path in enumerate(paths)]
        table.write_text("\n".join(["path,label", *rows]))
        if names == "ab":
            finetune(table, encoder, tmp_path / "run", *words)
            (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(SystemExit):
        finetune(table, encoder, tmp_path / "run", *words)
    assert "is of a run with labels = " in capsys.readouterr().err


def test_from_scratch_begins_with_random_weights(shapes, encoder, tmp_path, capsys):
    """And the summary counts as `pcae evaluate` does."""
    words = ["--steps", "2", "--base-lr", "1e-2", "--evaluate-every", "20ep", "--drop-ratio", "0.3"]
    small = ["--recipe", "finetune-small", "--batch-size", "16", "--device", "cpu", *words]
    main(["finetune", str(shapes), "--weights", str(encoder), "--from-scratch", "--out", str(tmp_path / "a"), *small])
    assert "random weights, of the architecture of" in capsys.readouterr().err
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    main(["evaluate", str(shapes), "--weights", str(tmp_path / "a"), "--rounds", "0", "--json"])
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (summary["top1"], summary["drop_ratio"]) == (row["top1"], row["drop_ratio"]) and row["drop_ratio"] == 0.3
    network = ["--model", "vit_tiny_patch16_224", "--width", "24", "--depth", "3", "--heads", "2", "--patch-size", "7"]
    sizes = ["--image-size", "28", "42", "--channels", "1"]
    main(["finetune", str(shapes), "--from-scratch", "--out", str(tmp_path / "b"), *network, *sizes, *small])
    model = load(tmp_path / "b")
    assert model.encoder.grid == (4, 6) and model.facts.encoder.depth == 3 and len(model.facts.mean) == 1


def test_weights_of_another_size_have_their_positions_resized_and_it_is_said(shapes, encoder, tmp_path, capsys):
    words = ["--image-size", "32", "40", "--steps", "1", "--batch-size", "4"]
    finetune(shapes, encoder, tmp_path / "run", *words)
    said = capsys.readouterr().err
    assert "resized: pos_embed from 7 x 7 to 8 x 10" in said and "missing, left as initialised" in said
    assert load(tmp_path / "run").encoder.grid == (8, 10)


def test_a_classifier_of_the_same_classes_keeps_its_head(shapes, unbroken, tmp_path):
    words = ["--steps", "1", "--batch-size", "4", "--base-lr", "1e-12", "--ema", "0"]
    finetune(shapes, unbroken, tmp_path / "run", *words)
    torch.testing.assert_close(load(tmp_path / "run").encoder.vit.head.weight, load(unbroken).encoder.vit.head.weight)


def test_python_does_the_same(shapes, encoder, tmp_path):
    knobs = {"recipe": "finetune-small", "batch_size": 8, "steps": 2, "device": "cpu", "drop_ratio": "0.1:0.3"}
    summary = pcae.finetune(shapes, tmp_path / "run", weights=str(encoder), **knobs)
    assert summary["steps"] == 2 and load(tmp_path / "run").facts.drop_ratios == (0.1, 0.3)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["drop_ratio"] == "0.1:0.3"


def test_a_csv_with_held_out_images_in_another(shapes, encoder, tmp_path):
    for split in ("train", "val"):
        files = sorted((shapes / split).rglob("*.png"))
        lines = "".join(f"{path},{path.parent.name}\n" for path in files)
        (tmp_path / f"{split}.csv").write_text(lines)
    words = ["--validation", str(tmp_path / "val.csv"), "--steps", "1"]
    finetune(tmp_path / "train.csv", encoder, tmp_path / "run", *words)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["images"], summary["held_out"]) == (48, 24)


def test_more_channels_than_policies_know_are_refused_unless_it_is_off(shapes, tmp_path, capsys):
    network = ["--width", "24", "--depth", "3", "--heads", "2", "--patch-size", "7", "--image-size", "28", "28"]
    words = ["finetune", str(shapes), "--from-scratch", "--channels", "4", "--out", str(tmp_path / "run"), *network]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--steps", "1", "--batch-size", "4"])
    assert stop.value.code == 2 and "use --auto-augment none" in capsys.readouterr().err
    statistics = ["--mean", *["0.5"] * 4, "--std", *["0.2"] * 4]
    main([*words, *statistics, "--recipe", "finetune-small", "--steps", "1", "--batch-size", "4"])
    assert load(tmp_path / "run").facts.encoder.channels == 4
