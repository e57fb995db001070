"""Fine-tuning with several labels, balanced classes, held-out images of its own making: goes on, and is measured."""

import csv
import json
import os
import signal
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from pcae.cli import main
from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.pages.run_page import write_report
from pcae.runs.run import TrainingRun
from pcae.training.logging import read_metrics
from pcae.weights.files import load, save_model
from tests.bars import make_bars
from tests.conftest import TINY
from tests.processes import assert_same
from tests.runs.test_finetuning import make_shapes

pytestmark = pytest.mark.trains

NETWORK = [
    "--from-scratch", "--width", "24", "--depth", "3", "--heads", "2", "--image-size", "28", "28", "--patch-size", "7",
    "--channels", "1", "--batch-size", "8", "--steps", "6", "--checkpoint-every", "3", "--keep-checkpoints", "9",
    "--device", "cpu", "--evaluate-every", "0.5", "--auto-augment", "none", "--drop-ratio", "0:0.4",
    "--drop-start-epochs", "0", "--ema", "0.5", "--base-lr", "0.01",
]  # fmt: skip
KINDS = {
    "several": ["--multi-label", "--class-weights", "balanced", "--val-fraction", "0.3", "--group-column", "patient"],
    "balanced": ["--sampler", "balanced", "--class-weights", "balanced", "--mixup", "0", "--cutmix", "0"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("data")
    shapes = make_shapes(root / "shapes", 8)
    for index in range(6):  # a rare class
        (shapes / "train" / "striped" / f"{index}.png").unlink()
    return {"several": make_bars(root / "bars", 48), "balanced": str(shapes)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for kind, words in KINDS.items():
        main(["finetune", data[kind], "--out", str(folder / kind), *NETWORK, *words])
    return {kind: folder / kind for kind in KINDS}


def summary_of(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def answer(capsys, *words) -> dict | list:
    capsys.readouterr()
    main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_asked_to_stop_goes_on_to_the_same_weights(tmp_path, monkeypatch, data, runs, kind):
    stop_if, out = TrainingRun.stop_if, tmp_path / "run"

    def at_step(self, asked):
        if self.progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)  # is heard in the next step
        stop_if(self, asked)

    words = ["finetune", data[kind], "--out", str(out), *NETWORK, *KINDS[kind]]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "stop_if", at_step)
        with pytest.raises(SystemExit) as stop:
            main(words)
    assert stop.value.code == 75
    main(words)
    assert_same(runs[kind], out, 6)
    names = "validation.txt"
    assert kind == "balanced" or (out / names).read_bytes() == (runs[kind] / names).read_bytes()


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("several", ["--val-fraction", "0.5"], "is of a run with"),
        ("several", ["--no-multi-label"], "48 rows have no label"),
        ("balanced", ["--sampler", "shuffle"], "is of a run with sampler = balanced, not shuffle"),
        ("balanced", ["--class-weights", "None"], "is of a run with class_weights = balanced, not None"),
    ],
)
def test_what_decides_the_result_makes_another_run(capsys, data, runs, kind, words, message):
    with pytest.raises(SystemExit) as stop:
        main(["finetune", data[kind], "--out", str(runs[kind]), *NETWORK, *KINDS[kind], *words])
    err = " ".join(capsys.readouterr().err.split())
    assert stop.value.code == 2 and message in err


def test_no_group_is_on_both_sides_and_the_run_says_which_images_are_held_out(data, runs):
    names = (runs["several"] / "validation.txt").read_text().splitlines()
    rows = list(csv.DictReader(Path(data["several"]).read_text().splitlines()))
    sides = defaultdict(set)
    for row in rows:
        sides[row["patient"]].add(row["path"] in names)
    assert all(len(side) == 1 for side in sides.values())
    summary = summary_of(runs["several"])
    assert summary["held_out"] == len(names) == 48 - summary["images"] and 12 <= len(names) <= 17


def test_the_measure_is_scikit_learns_of_what_predict_says(capsys, data, runs):
    run = runs["several"]
    names, summary = (run / "validation.txt").read_text().splitlines(), summary_of(run)
    said = answer(capsys, "predict", data["several"], "--weights", run, "--device", "cpu")
    rows = {row["path"]: row["labels"] for row in csv.DictReader(Path(data["several"]).read_text().splitlines())}
    scores, labels = [], []
    for line in said:
        name = "img/" + Path(line["path"]).name
        if name in names:
            chances = {one["class"]: one["probability"] for one in line["top"]}
            scores.append([chances["left"], chances["top"]])
            labels.append([word in rows[name] for word in ("left", "top")])
    assert summary["map"] == pytest.approx(average_precision_score(labels, scores), abs=0.02)  # rounded: more ties
    words = ["--weights", run, "--rounds", "0", "--drop-ratio", "0", "--only", run / "validation.txt"]
    row = answer(capsys, "evaluate", data["several"], *words)["rows"][0]
    assert row["map"] == pytest.approx(summary["map"]) and row["images"] == len(names)
    low, high = summary["intervals"]["map"]
    assert low <= summary["map"] <= high and set(summary["by_class"]) == {"left", "top"}
    looks = [line["map"] for line in read_metrics(run) if "map" in line]
    assert summary["best_map"] == max(looks) and looks[-1] == summary["map"]


def test_predict_names_every_class_above_a_threshold(capsys, data, runs):
    words = ["predict", data["several"], "--weights", runs["several"], "--device", "cpu"]
    every = [{one["class"]: one["probability"] for one in line["top"]} for line in answer(capsys, *words)]
    middle = sorted(chance for line in every for chance in line.values())[len(every)]
    some = [
        {one["class"]: one["probability"] for one in line["top"]}
        for line in answer(capsys, *words, "--threshold", middle)
    ]
    expected = [{name: chance for name, chance in line.items() if chance >= middle} for line in every]
    assert {sum(line.values()) > 1 for line in every} and 0 < sum(map(len, some)) < sum(map(len, every))
    assert abs(sum(map(len, some)) - sum(map(len, expected))) <= 2  # probabilities are rounded where they are printed


def test_balanced_accuracy_and_recalls_are_those_of_single_predictions(capsys, data, runs):
    summary = summary_of(runs["balanced"])
    folder = Path(data["balanced"]) / "val"
    said = answer(capsys, "predict", folder, "--weights", runs["balanced"], "--top", "1", "--device", "cpu")
    true = [Path(line["path"]).parent.name for line in said]
    assert summary["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(true, [line["top"][0]["class"] for line in said])
    )
    assert {name: row["images"] for name, row in summary["by_class"].items()} == dict.fromkeys(sorted(set(true)), 4)
    assert set(summary["intervals"]) == {"top1", "top5", "balanced_accuracy"}


@pytest.mark.page
@pytest.mark.parametrize("kind", KINDS)
def test_the_page_has_intervals_and_each_class(tmp_path, runs, kind):
    page, summary = write_report(runs[kind], tmp_path / "a.html").read_text(), summary_of(runs[kind])
    for name, (low, high) in summary["intervals"].items():
        assert f"{100 * summary[name]:.1f} % ({100 * low:.1f}\u2013{100 * high:.1f})" in page
    assert "By class, worst first" in page and all(f"<td>{name}</td>" in page for name in summary["by_class"])
    assert (kind == "several") == ("validation.txt" in page) == ("mean average precision" in page)


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("balanced", ["--val-fraction", "0.3"], "has held-out images of its own, 12 of them; leave --val-fraction out"),
        ("several", ["--val-fraction", "0.3", "--validation", "sample"], "both say what is held out"),
        ("several", ["--val-fraction", "1"], "val_fraction must lie in (0, 1), got 1"),
        (
            "several",
            ["--group-column", "patient"],
            "group_column 'patient' is for --val-fraction; give it, or leave the column out",
        ),
        ("several", ["--multi-label", "--sampler", "balanced"], "use --class-weights balanced"),
        ("several", ["--val-fraction", "0.3"], "48 rows have"),
    ],
)
def test_what_does_not_go_together_is_one_line(tmp_path, capsys, data, kind, words, message):
    with pytest.raises(SystemExit) as stop:
        main(["finetune", data[kind], "--out", str(tmp_path / "run"), *NETWORK, *words])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and message in err and err.count("pcae: ") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["timm", "hf", "safetensors"])
def test_an_exported_classifier_still_says_that_it_takes_several_labels(tmp_path, to):
    torch.manual_seed(0)
    facts = PretrainedFacts(
        encoder=replace(TINY, image_size=(32, 32)), mean=[0.5] * 3, std=[0.5] * 3, classes=["a", "b"],
        global_pool="token", multi_label=True,
    )  # fmt: skip
    save_model(tmp_path / "classifier.safetensors", build_model(facts).encoder.vit, facts)
    out = tmp_path / ("out.safetensors" if to == "safetensors" else "out")
    main(["export", "--weights", str(tmp_path / "classifier.safetensors"), "--to", to, "--out", str(out)])
    again = load(f"timm:local-dir:{out}" if to == "timm" else out).facts
    assert again.multi_label and again.classes == ["a", "b"]
    if to == "hf":
        assert json.loads((out / "config.json").read_text())["problem_type"] == "multi_label_classification"
