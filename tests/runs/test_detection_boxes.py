"""Boxes alone, which most people have: Faster R-CNN is trained, evaluated and predicts, and says so."""

# ruff: noqa: F401, F811 - fixtures of test_detection serve here, too

import json
from pathlib import Path

import pytest
import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN

from pcae.cli import main
from pcae.weights.detectors import fill_detector, find_detector
from tests import shapes
from tests.runs.test_detection import begun, data, encoder, evaluated, refused, words
from tests.runs.test_detection_settings import predict, summary

pytestmark = pytest.mark.trains

FEW = ["--steps", "1", "--drop-path", "0"]
LOSSES = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
"""Those of Faster R-CNN, as torchvision calls them."""


def without_masks(ids: bool = False) -> dict:
    """Annotations of boxes; with ids that are words."""
    content = shapes.content()
    content["annotations"] = [one | {"segmentation": []} for one in content["annotations"]]
    for image in content["images"] if ids else ():
        image["id"] = f"image {image['id']}"
    for one in content["annotations"] if ids else ():
        one["image_id"] = f"image {one['image_id']}"
    return content


def boxes(folder: Path, ids: bool = False) -> Path:
    for name in ("train", "val"):
        shapes.make(folder, without_masks(ids), name)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, encoder) -> Path:
    """A detector of boxes; the ids of its images are words."""
    folder = tmp_path_factory.mktemp("boxes")
    main(words(boxes(folder / "data", ids=True), encoder, folder / "run", *FEW))
    return folder / "run"


def test_boxes_alone_train_faster_r_cnn(trained):
    detector = fill_detector(find_detector(trained), torch.device("cpu"))
    assert isinstance(detector.network, FasterRCNN) and not isinstance(detector.network, MaskRCNN)
    assert not any("mask" in name for name in detector.state_dict())
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    (row,) = (row for row in rows if "loss" in row)
    parts = {name for name in row if name.startswith("loss_")}
    assert parts == LOSSES and sum(row[name] for name in parts) == pytest.approx(row["loss"])
    said = summary(trained)
    assert said["best_ap"] == said["box_ap"] and "mask_ap" not in said and (trained / "report.html").is_file()


def test_evaluation_and_prediction_have_boxes_alone(trained, data, tmp_path, capsys):
    """Also on annotations with masks: the figures are those of the boxes."""
    found = evaluated(capsys, trained.parent / "data", trained, "--predictions", str(tmp_path / "found.json"))
    assert found["mask"] is None and found["objects"] == 9
    assert found["box"] == evaluated(capsys, data, trained)["box"]
    results = json.loads((tmp_path / "found.json").read_text())
    assert all("segmentation" not in one and one["image_id"].startswith("image ") for one in results)
    predict(data, trained, tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results and all(one.keys() == {"image_id", "category_id", "score", "bbox"} for one in results)
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    line = ["detect", "evaluate", str(data), "--weights", str(trained), "--device", "cpu", "--masks", "always"]
    assert "masks always is for a detector with masks" in refused(capsys, *line)


def test_it_is_said(data, encoder, tmp_path, capsys):
    line = words(boxes(tmp_path / "data"), encoder, tmp_path / "run", *FEW)
    assert "have boxes only, no masks; without --masks always" in refused(capsys, *line, "--masks", "always")
    main(line)
    said = " ".join(capsys.readouterr().err.split())
    assert "no object has a mask: boxes alone are taken" in said and "Faster R-CNN, boxes alone on" in said
    assert "done: box AP" in said and "mask AP" not in said


def test_masks_are_left_where_boxes_alone_are_asked_for(data, encoder, tmp_path, capsys):
    """A step takes less memory by the masks and what they need."""
    peaks = {}
    for masks in ("never", "auto"):
        main(words(data, encoder, tmp_path / "run", *FEW, "--masks", masks, "--dry-run", "--json"))
        peaks[masks] = json.loads(capsys.readouterr().out)["peak_bytes"]
    assert peaks["never"] < peaks["auto"]


def test_a_detector_of_masks_is_measured_by_boxes_where_there_are_no_others(begun, tmp_path, capsys):
    found = evaluated(capsys, boxes(tmp_path), begun)
    assert found["mask"] is None and found["box"]["ap"] is not None


def test_crowds_are_objects_where_that_is_said(encoder, begun, tmp_path, capsys):
    made = shapes.content()
    for one in made["annotations"]:
        one["iscrowd"] = 1
    for name in ("train", "val"):
        shapes.make(tmp_path / "data", made, name)
    line = words(tmp_path / "data", encoder, tmp_path / "run", *FEW)
    assert "have no object, only 9 crowds (iscrowd 1); take these as objects by --crowds-as-objects" in refused(
        capsys, *line
    )
    main([*line, "--crowds-as-objects"])
    assert "9 objects of 3 categories" in " ".join(capsys.readouterr().err.split())
    assert evaluated(capsys, tmp_path / "data", begun)["objects"] == 0
    found = evaluated(capsys, tmp_path / "data", begun, "--crowds-as-objects")
    assert found["objects"] == 9 and found["box"]["ap"] is not None
