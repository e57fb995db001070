"""What somebody writes who knows timm and the public names of pcae alone; a type checker reads it in strict mode."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import pcae

pytestmark = pytest.mark.trains
NETWORK: dict[str, Any] = {
    "model": "vit_tiny_patch16_224", "width": 24, "depth": 4, "heads": 2, "patch_size": 8, "image_size": 32,
    "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2,
}  # fmt: skip
SHORT: dict[str, Any] = {"steps": 1, "batch_size": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures in two classes, for training and held out, and a pre-trained and a fine-tuned run of one step."""
    place, noise = tmp_path_factory.mktemp("place"), np.random.default_rng(0)
    for folder in ("train/cats", "train/dogs", "val/cats", "val/dogs"):
        (place / "labelled" / folder).mkdir(parents=True)
        for index in range(3):
            pixels = noise.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "labelled" / folder / f"{index}.png")
    pcae.pretrain(place / "labelled", place / "run", **NETWORK, **SHORT)
    pcae.finetune(place / "labelled", place / "classifier", weights=place / "run", drop_ratio=(0, 0.4), **SHORT)
    return place


def test_the_names_are_there() -> None:
    assert {"pretrain", "finetune", "evaluate", "predict", "probe", "embed", "export", "show"} < set(dir(pcae))
    assert {"compare", "check_data", "detect", "reduce", "load", "open_images", "data", "methods"} < set(dir(pcae))
    assert pcae.__version__ and pcae.data.__name__ == "pcae.data" and pcae.methods.__name__ == "pcae.methods"


def test_a_summary_is_a_dict_that_prints_as_a_table_and_a_second_call_works(place: Path) -> None:
    summary = pcae.pretrain(place / "labelled", place / "again", **NETWORK, **SHORT)
    other = json.loads((place / "run" / "summary.json").read_text())
    assert (summary["loss"], summary["steps"]) == (other["loss"], 1)
    assert "images_per_second" in str(summary)


def test_a_dry_run_is_a_forecast(place: Path) -> None:
    found = pcae.pretrain(place / "labelled", place / "dry", dry_run=True, **NETWORK, **SHORT)
    assert found["steps"] == 1 and "peak memory" in str(found) and not (place / "dry").exists()


def test_predictions_are_the_classifier_s_and_evaluate_counts_them(place: Path) -> None:
    predictions = pcae.predict(place / "labelled", weights=place / "classifier", drop_ratio=0.0, top=2)
    model = pcae.load(place / "classifier")
    classifier = model.classifier(0.0)
    assert model.classes == classifier.classes == ["cats", "dogs"]
    frame = predictions.to_pandas()
    assert len(frame) == 2 * len(predictions.rows) == 12
    best = [row["top"][0] for row in predictions.rows]
    right = [one["class"] in row["path"] for one, row in zip(best, predictions.rows, strict=True)]
    evaluated = pcae.evaluate(place / "labelled", weights=place / "classifier", drop_ratio=[0, 0.4], rounds=0)
    assert evaluated.rows[0]["top1"] == sum(right) / 6 and [row["drop_ratio"] for row in evaluated.rows] == [0, 0.4]
    assert evaluated.records() == evaluated.rows and "top-1" in str(evaluated)
    assert not Path("accuracy-speed.png").exists()
    written = pcae.predict(place / "labelled", weights=place / "classifier", out=place / "best.jsonl", top=1)
    assert [json.loads(line) for line in (place / "best.jsonl").read_text().splitlines()] == written.rows


def test_features_are_the_same_in_memory_in_a_file_and_of_a_loaded_model(place: Path) -> None:
    found = pcae.embed(place / "labelled", weights=place / "run", split="test", out=place / "features.npy")
    assert found.features.shape == (6, 24) and np.array_equal(found.features, np.load(place / "features.npy"))
    assert json.loads((place / "features.files.json").read_text()) == found.names
    held_out = pcae.open_images(place / "labelled", "test", 3)
    pooled = pcae.embed(pcae.load(place / "run"), held_out, how="mean")
    assert np.array_equal(pooled.numpy(), found.features) and list(held_out.names) == found.names
    assert found.to_pandas().shape == (6, 24) and found.records()[0]["features"] == found.features[0].tolist()
    tokens = pcae.embed(place / "labelled", weights=place / "run", split="test", tokens=True)
    assert tokens.features.shape == (6, 16, 24) and tokens.to_pandas().shape == (96, 24)
    np.testing.assert_allclose(tokens.features.mean(axis=1), found.features, atol=1e-5)


def test_probe_show_report_and_check(place: Path) -> None:
    probed = pcae.probe(place / "labelled", weights=place / "run", probes="knn", k=1, pool="mean", device="cpu")
    assert [row["probe"] for row in probed.records()] == ["knn"] and 0 <= probed.probes[0]["accuracy"] <= 1
    shown = pcae.show(place / "labelled", weights=place / "run", out=place / "shown", most_images=1, keep_ratio=0.5)
    whole = [row for row in shown.records() if row["mode"] == "whole"]
    assert [len(row["kept_ids"]) for row in whole] == [8, 4, 2] and "16 -> 8 -> 4 -> 2" in str(shown)
    report = pcae.report(place / "run", out=place / "page.html")
    assert report["state"]["finished"] and (place / "page.html").is_file() and "loss" in str(report)
    checked = pcae.check_data(place / "labelled", workers=0)
    assert checked["images"] == {"train": 6, "validation": 6} and "2 classes" in str(checked)


def test_pack_and_export(place: Path) -> None:
    packed = pcae.pack(place / "labelled", place / "packed", side=32, workers=0)
    assert {row["split"]: row["images"] for row in packed.records()} == {"train": 6, "test": 6}
    assert len(pcae.open_images(place / "packed", "test")) == 6
    exported = pcae.export(place / "classifier", to="timm", out=place / "timm")
    assert exported.check["holds"] and exported.classes == ["cats", "dogs"] and "PyTorch" in str(exported)


@pytest.mark.slow
def test_compare(place: Path) -> None:
    rows = "pretrain: {network}\nmeasures: [knn]\nrows:\n- name: pcae\n- name: mae\n  pretrain: {{method: mae}}\n"
    network = {**NETWORK, "image_size": [32, 32], "steps": 1, "batch_size": 4}
    (place / "rows.yaml").write_text(rows.format(network=json.dumps(network)))
    found = pcae.compare(place / "labelled", rows=place / "rows.yaml", out=place / "compared", device="cpu")
    assert [row["setting"] for row in found.records()] == ["pcae", "mae"] and "kNN in %" in str(found)


@pytest.mark.slow
def test_detection(place: Path) -> None:
    boxes = [{"id": n + 1, "image_id": n, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400} for n in range(3)]
    images = [{"id": n, "file_name": f"{n}.png", "height": 40, "width": 60} for n in range(3)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "box"}]}
    (place / "boxes.json").write_text(json.dumps(content))
    pictures = place / "labelled" / "train" / "cats"
    pcae.detect.train(
        place / "boxes.json", place / "detector", images=pictures, validation=place / "boxes.json", steps=1,
        weights=place / "run", batch_size=1, device="cpu", pyramid_channels=16, longest_side=100,
        head_width=16, shortest_sides=64,
    )  # fmt: skip
    figures = pcae.detect.evaluate(place / "boxes.json", weights=place / "detector", images=pictures, device="cpu")
    assert figures["images"] == 3 and figures["mask"] is None and "AP50" in str(figures)
    found = pcae.detect.predict(pictures, weights=place / "detector", out=place / "found", threshold=0.0, device="cpu")
    assert len(found.images) == 3 and len(found.records()) == len(found.results)


class Findings(Dataset[tuple[Image.Image, torch.Tensor]]):
    """Images that show any number of three things: 0 or 1 for each."""

    classes = ("red", "round", "soft")

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Image.Image, torch.Tensor]:
        if index >= len(self):
            raise IndexError(index)
        return Image.new("RGB", (40, 40), (30 * index, 90, 0)), torch.tensor([index % 2, index // 2 % 2, 0])


@pytest.mark.slow
def test_data_sets_and_models_stand_where_paths_do(place: Path) -> None:
    splits = {name: ImageFolder(place / "labelled" / name) for name in ("train", "val")}
    held_out, heard = splits["val"], list[int]()
    train = ImageFolder(place / "labelled" / "train", transform=v2.RandomCrop(36))

    class Listener(pcae.Callback):
        def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
            heard.append(step)

    flips = v2.Compose([v2.Resize((32, 32)), v2.RandomHorizontalFlip()])
    pcae.pretrain(train, place / "own", transform=flips, callbacks=[Listener()], **NETWORK, **SHORT)
    model = pcae.load(place / "own")
    assert set(heard) == {0, 1}
    summary = pcae.finetune(splits, place / "of objects", weights=model, freeze="encoder", **SHORT)
    classifier = pcae.load(place / "of objects")
    assert classifier.classes == ["cats", "dogs"]
    found = pcae.evaluate(held_out, weights=classifier, rounds=0, drop_ratio=0)
    assert found.rows[0]["top1"] == summary["top1"]
    assert len(pcae.predict(held_out, weights=classifier, top=1).rows) == 6
    assert pcae.embed([picture for picture, _ in held_out], weights=model, device="cpu").features.shape == (6, 24)
    probed = pcae.probe(train, weights=model, validation=[held_out], probes="knn", k=1, device="cpu")
    assert 0 <= probed.probes[0]["accuracy"] <= 1
    assert pcae.check_data(splits, workers=0)["images"] == {"train": 6, "validation": 6}
    assert {row["split"] for row in pcae.pack(splits, place / "packed objects", side=32, workers=0).records()} == {
        "train",
        "test",
    }
    assert pcae.show(held_out, weights=classifier, out=place / "kept", most_images=1, drop_ratio=0.5).records()
    assert pcae.export(classifier, to="timm", out=place / "exported").check["holds"]
    timms = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=0)
    assert pcae.embed(held_out, weights=pcae.reduce(timms, drop_ratio=0.2)).features.shape == (6, 192)


@pytest.mark.slow
def test_several_labels_come_from_any_data_set(place: Path) -> None:
    found = pcae.finetune(
        Findings(), place / "findings", weights=place / "run", multi_label=True, val_fraction=0.5, **SHORT
    )
    assert 0 <= found["map"] <= 1 and pcae.load(place / "findings").classes == ["red", "round", "soft"]
    assert pcae.evaluate(Findings(), weights=place / "findings", rounds=0).rows


def test_any_timm_model_is_made_faster() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=5).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(pcae.reduce(model, drop_ratio=0.0)(images), model(images), atol=1e-5)
        assert pcae.reduce(model, drop_ratio=0.4)(images).shape == (2, 5)


def test_what_cannot_be_is_named_with_the_remedy(place: Path) -> None:
    data, wrong = place / "labelled", dict[str, Any](wieghts="w")
    with pytest.raises(ValueError, match="unknown key 'wieghts'; did you mean 'weights'"):
        pcae.evaluate(data, weights="w", **wrong)
    with pytest.raises(ValueError, match="drop_ratio must"):
        pcae.predict(data, weights=place / "classifier", drop_ratio=1.5)
    with pytest.raises(AttributeError, match="did you mean 'pretrain'"):
        getattr(pcae, "pretrian")  # noqa: B009
