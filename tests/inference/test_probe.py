"""`pcae probe`: one table of all probes, everything in JSON, and one line for what cannot be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcae.cli import main
from pcae.data.tables.labelled import open_labelled
from pcae.data.tables.split_off import open_split
from pcae.evaluation.features import embed, raw_pixels
from pcae.evaluation.knn import knn_accuracies
from pcae.inference import probe
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.settings.labels import SplitConfig
from pcae.settings.network import EncoderConfig
from pcae.weights.files import load, save_model

SIZES = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(16, 24), patch_size=8, channels=3, width=24, depth=2, heads=2
)
QUICK = ["--epochs", "3", "--device", "cpu"]


def save_pictures(root: Path, count: int, classes: tuple[str, ...] = ("dark", "light"), seed: int = 0) -> str:
    """`count` noisy pictures of each class, each class a little lighter than the one before."""
    chance = np.random.default_rng(seed)
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = chance.integers(0, 120, (20, 30, 3), dtype=np.uint8) + 100 * place // (len(classes) - 1 or 1)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index:02d}.png")
    return str(root)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    """Random encoders, with and without a class token."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, model in (("with", SIZES), ("without", replace(SIZES, model="vit_base_patch16_gap_224"))):
        facts = PretrainedFacts(encoder=model, mean=[0.4] * 3, std=[0.3] * 3)
        save_model(root / f"{name}.safetensors", build_encoder(model).vit, facts)
    return {name: str(root / f"{name}.safetensors") for name in ("with", "without")}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    root = tmp_path_factory.mktemp("data")
    save_pictures(root / "train", 20)
    save_pictures(root / "val", 8, seed=1)
    return str(root)


def as_json(capsys, *words: str) -> dict:
    capsys.readouterr()
    main(["probe", *words, *QUICK, "--json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["probe", *words])
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def kinds(result: dict) -> list[tuple]:
    return [(row["probe"], row["features"], row.get("k")) for row in result["probes"]]


def test_all_probes_of_all_features(capsys, data, weights):
    words = ["--probes", "knn", "linear", "attentive", "--k", "3", "1", "--pixels"]
    result = as_json(capsys, data, "--weights", weights["with"], *words)
    features = ("mean", "cls", "raw pixels")
    assert kinds(result) == [
        *(("knn", name, k) for name in features for k in (3, 1)),
        *(("linear", name, None) for name in features),
        ("attentive", "patch tokens", None),
    ]
    assert result["images"] == {"train": 40, "test": 16} and result["classes"] == ["dark", "light"]
    assert all(0 <= row["accuracy"] <= 1 and row["seconds"] > 0 for row in result["probes"])
    for row in (row for row in result["probes"] if row["probe"] != "knn"):
        best = max(step["held_out_accuracy"] for step in row["sweep"])
        chosen = next(step for step in row["sweep"] if step["learning_rate"] == row["learning_rate"])
        assert chosen["held_out_accuracy"] == best
    assert result["settings"]["epochs"] == 3 and result["settings"]["k"] == [3, 1]
    images = open_labelled(data, 3)
    labels = [torch.tensor(list(some.labels)) for some in images]
    pixels = [raw_pixels(some, SIZES.image_size) for some in images]
    expected = knn_accuracies(pixels[0], labels[0], pixels[1], labels[1], (3, 1))
    found = [row for row in result["probes"] if (row["probe"], row["features"]) == ("knn", "raw pixels")]
    assert {row["k"]: row["accuracy"] for row in found} == expected


def test_it_is_the_knn_of_pooled_features(capsys, data, weights):
    result = as_json(capsys, data, "--weights", weights["with"], "--probes", "knn", "--k", "5", "--pool", "cls")
    model = load(weights["with"])
    parts = [
        part for images in open_labelled(data) for part in (embed(model, images, "cls"), torch.tensor(images.labels))
    ]
    assert kinds(result) == [("knn", "cls", 5)]
    assert result["probes"][0]["accuracy"] == knn_accuracies(*parts, ks=(5,))[5]


def test_the_table_has_a_row_for_each(capsys, data, weights):
    main(["probe", data, "--weights", weights["with"], *QUICK, "--probes", "knn", "linear", "knn", "--k", "3"])
    out = capsys.readouterr().out
    assert "40 training and 16 test images of 2 classes" in out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert [row[:2] for row in rows] == [
        ["kNN, k=3", "mean"],
        ["kNN, k=3", "cls"],
        ["linear", "mean"],
        ["linear", "cls"],
    ]
    assert all(0 <= float(row[3]) <= 100 for row in rows) and rows[0][2] == "" and float(rows[2][2]) > 0


def test_the_same_command_gives_the_same_numbers(capsys, data, weights):
    words = [data, "--weights", weights["with"], "--probes", "linear", "attentive", "--seed", "4"]
    found = [as_json(capsys, *words)["probes"] for _ in range(2)]
    for rows in found:
        for row in rows:
            del row["seconds"]
    assert found[0] == found[1]


def test_tokens_that_do_not_fit_change_no_number(capsys, data, weights, monkeypatch):
    kept = []
    plainly = probe.freeze
    monkeypatch.setattr(
        probe, "freeze", lambda *words, **named: kept.append(named["cache_tokens"]) or plainly(*words, **named)
    )
    found = [
        as_json(capsys, data, "--weights", weights["with"], "--probes", "attentive", "--token-gib", gib)["probes"][0]
        for gib in ("1", "0")
    ]
    assert kept == [True, True, False, False]
    assert found[0]["accuracy"] == pytest.approx(found[1]["accuracy"], abs=1.01 / 16)  # one image by rounding


def test_without_a_class_token_there_is_the_mean(capsys, data, weights):
    result = as_json(capsys, data, "--weights", weights["without"], "--k", "2")
    assert kinds(result) == [("knn", "mean", 2), ("linear", "mean", None)]


def test_held_out_images_from_elsewhere(capsys, tmp_path, weights):
    train = save_pictures(tmp_path / "photos", 10, ("a", "b", "c"))
    other = save_pictures(tmp_path / "other", 4, ("c",), seed=1)
    words = [train, "--weights", weights["with"], "--validation", other, "--k", "2"]
    result = as_json(capsys, *words)
    assert result["images"] == {"train": 30, "test": 4} and result["classes"] == ["a", "b", "c"]
    assert result["settings"]["validation"] == other


def test_unreadable_files_are_left_out_and_named(capsys, tmp_path, weights):
    save_pictures(tmp_path / "train", 10)
    save_pictures(tmp_path / "val", 4, seed=1)
    (tmp_path / "train" / "dark" / "torn.png").write_bytes(b"torn")
    words = [str(tmp_path), "--weights", weights["with"], "--k", "2", *QUICK]
    main(["probe", *words, "--json"])
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["images"] == {"train": 20, "test": 8}
    assert [Path(name).name for name in result["bad_files"]] == ["torn.png"]
    assert "torn.png" in said.err and "left out" in said.err
    assert "more than --max-bad-files 0 allows" in refused(capsys, *words, "--max-bad-files", "0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "5", "41"], "k must lie in [1, 40], the number of training images, got 41"),
        (["--k", "0"], "k must be at least 1, got 0"),
        (["--probes", "svm"], "--probes takes some of knn, linear, attentive, got 'svm'"),
        (["--pool", "max"], "--pool takes some of mean, cls, got 'max'"),
        (["--probes", "attentive", "--pool", "mean"], "pool and pixels are for the kNN and the linear probe"),
        (["--probes", "attentive", "--pixels"], "pool and pixels are for the kNN and the linear probe"),
        (["--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--seed", "-1"], "seed must lie in [0, 2^63), got -1"),
        (["--token-gib", "nan"], "token_gib must be 0 or more, got nan"),
        (["--max-bad-files", "1"], "max_bad_files must lie in [0, 1), got 1"),
        (["--workers", "-1"], "workers must be 0 or more, got -1"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_image_is_read(
    capsys, data, weights, monkeypatch, words, message
):
    monkeypatch.setattr(probe, "freeze", None)
    assert message in refused(capsys, data, "--weights", weights["with"], *words)


def test_data_that_cannot_be_probed(capsys, tmp_path, data, weights):
    one = save_pictures(tmp_path / "one" / "train", 3, ("dark",)).removesuffix("/train")
    save_pictures(tmp_path / "one" / "val", 3, ("dark",))
    assert "has one class only, 'dark'" in refused(capsys, one, "--weights", weights["with"])
    other = save_pictures(tmp_path / "other", 3, ("dark", "gray", "light"))
    words = [data, "--weights", weights["with"], "--validation", other]
    assert "held-out images of classes that no training image has: 'gray'" in refused(capsys, *words)
    words = [data, "--weights", weights["without"], "--pool", "mean", "cls"]
    assert "pool cls needs a model with a class token; use --pool mean" in refused(capsys, *words)


def test_a_share_of_the_images_is_held_out_as_fine_tuning_does(weights, data, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(probe, "open_split", lambda *given: opened.append(open_split(*given)) or opened[-1])
    words = [f"{data}/train", "--weights", weights["with"], "--probes", "knn", "--k", "3"]
    found = as_json(capsys, *words, "--val-fraction", "0.25")
    assert found["images"] == {"train": 30, "test": 10}
    theirs = open_split(f"{data}/train", SplitConfig(val_fraction=0.25), 0, 3)[1]
    assert list(opened[0][1].names) == list(theirs.names)
    with pytest.raises(SystemExit):
        main(["probe", *words, "--val-fraction", "0.25", "--validation", data])
    assert "both say what is held out; leave one of them out" in capsys.readouterr().err
