"""What can be chosen in detection, through the commands: views, channels, which images and annotations, windows."""

# ruff: noqa: F401, F811 - fixtures of test_detect serve here, too

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcae.cli import main
from pcae.runs import data_wait as waiting
from pcae.tasks.detection import Detection
from pcae.training.logging import read_metrics
from pcae.weights.detectors import fill_detector, find_detector, save_detector
from tests import shapes
from tests.runs.test_detection import data, encoder, evaluated, refused, words

pytestmark = pytest.mark.trains

STEPS = ["--steps", "2", "--drop-path", "0"]
FEW = ["--steps", "1", "--drop-path", "0"]


def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(out) if "loss" in line]


@pytest.fixture
def seen(monkeypatch) -> list[torch.Tensor]:
    """The images that a detector is trained on."""
    images, forward = [], Detection.forward

    def look(self, batch, random):
        images.extend(batch.images)
        return forward(self, batch, random)

    monkeypatch.setattr(Detection, "forward", look)
    return images


def test_jittered_views_have_their_size_and_objects_are_then_looked_for_at_it(data, encoder, tmp_path, seen, capsys):
    out, more = tmp_path / "run", ["--views", "jitter", "--jitter-size", "96", "72", "--padding", "7"]
    main(words(data, encoder, out, *STEPS, *more, "--jitter-scale", "0.3", "0.5", "--no-mirror"))
    assert {tuple(image.shape) for image in seen} == {(3, 96, 72)}
    assert all((image == 7).all(0).any() for image in seen)  # what is around the image
    found = evaluated(capsys, data, out)
    assert (found["shortest_side"], found["longest_side"]) == (72, 96)


def test_images_without_objects_are_trained_on_where_that_is_asked_for(encoder, tmp_path):
    made = shapes.content(4)
    del made["annotations"][3:6]
    folder = shapes.make(tmp_path / "data", made)
    shapes.make(folder, shapes.content(), "val")
    main(words(folder, encoder, tmp_path / "without", *FEW))
    main(words(folder, encoder, tmp_path / "with", *FEW, "--empty-images"))
    assert (summary(tmp_path / "without")["images"], summary(tmp_path / "with")["images"]) == (3, 4)


def test_so_many_wrong_annotations_as_are_allowed_are_left_out(encoder, tmp_path, capsys):
    folder, made = shapes.make(tmp_path / "data", shapes.content(), "val"), shapes.content()
    made["annotations"][4]["bbox"][3] = 0.0
    shapes.make(folder, made)
    line = words(folder, encoder, tmp_path / "run", *FEW)
    assert "annotation 5 of image 11 has a box of no area" in refused(capsys, *line)
    main([*line, "--max-bad-annotations", "0.2"])
    assert "1 of 9 annotations are left out: annotation 5 of image 11" in " ".join(capsys.readouterr().err.split())
    line = ["detect", "evaluate", str(folder / "train.json"), "--weights", str(tmp_path / "run"), "--device", "cpu"]
    assert "has a box of no area" in refused(capsys, *line)
    assert "max_bad_annotations must lie in [0, 1), got 1" in refused(capsys, *line, "--max-bad-annotations", "1")
    found = evaluated(capsys, folder / "train.json", tmp_path / "run", "--max-bad-annotations", "0.2")
    assert (found["images"], found["objects"]) == (3, 8)


def test_held_out_images_lie_with_the_others_or_where_it_is_said(encoder, tmp_path, capsys):
    held_out = shapes.content(2)
    for image in held_out["images"]:
        image["file_name"] = "held-out-" + image["file_name"]
    for name, made in (("train", shapes.content()), ("val", held_out)):
        shapes.make(tmp_path / name, made, name)
        (tmp_path / name / "images").rename(tmp_path / f"{name}-pictures")
    more = ["--validation", str(tmp_path / "val" / "val.json"), "--images", str(tmp_path / "train-pictures"), *FEW]
    line = words(tmp_path / "train" / "train.json", encoder, tmp_path / "run", *more)
    said = refused(capsys, *line)
    assert "val.json' name the image 'held-out-0.png' and 1 more" in said and "--validation-images DIR" in said
    assert not (tmp_path / "run").exists()
    main([*line, "--validation-images", str(tmp_path / "val-pictures")])
    for path in (tmp_path / "val-pictures").iterdir():
        path.rename(tmp_path / "train-pictures" / path.name)
    main([*line, "--out", str(tmp_path / "together")])
    for out in ("run", "together"):
        assert (summary(tmp_path / out)["images"], summary(tmp_path / out)["held_out"]) == (3, 2)


def grey(folder: Path, times: int) -> Path:
    """Gray pictures: a disc in full light and an L in half of it, in 8 bits or as 16-bit values `times` as large."""
    made = shapes.content()
    for name in ("train", "val"):
        shapes.make(folder, made, name)
    for path in (folder / "images").iterdir():
        pixels = np.array(Image.open(path))
        light = (pixels[..., 0] | (pixels[..., 1] // 2)).astype(np.uint8 if times == 1 else np.uint16)
        Image.fromarray(light * times).save(path)
    return folder


def from_scratch(data: Path, out: Path, *more: str) -> list[str]:
    line = words(data, Path("none"), out, *STEPS, *more)
    place = line.index("--weights")
    network = ["--from-scratch", "--model", "vit_tiny_patch16_224", "--width", "24", "--depth", "4", "--heads", "2"]
    return [*line[:place], *line[place + 2 :], *network]


def test_one_channel_and_a_range_of_16_bit_pixels_reach_the_detector(tmp_path, seen, capsys):
    """16-bit values from 0 to 1020 are the gray pictures of 8 bits times 4: range 0 1020 makes all numbers the same."""
    narrow, deep = grey(tmp_path / "8", 1), grey(tmp_path / "16", 4)
    main(from_scratch(narrow, tmp_path / "narrow", "--channels", "1"))
    assert {len(image) for image in seen} == {1}
    seen.clear()
    main(from_scratch(deep, tmp_path / "deep", "--channels", "1", "--pixel-range", "0", "1020"))
    assert max(int(image.max()) for image in seen) == 255
    assert losses(tmp_path / "narrow") == losses(tmp_path / "deep")
    facts = find_detector(tmp_path / "deep").facts
    assert (facts.encoder.channels, len(facts.mean), facts.pixel_range) == (1, 1, (0, 1020))
    found = [evaluated(capsys, *pair) for pair in ((narrow, tmp_path / "narrow"), (deep, tmp_path / "deep"))]
    assert found[0]["box"] == found[1]["box"]
    predict(deep, tmp_path / "deep", tmp_path / "found")
    predict(narrow, tmp_path / "narrow", tmp_path / "expected")
    assert b"segmentation" in (tmp_path / "found" / "results.json").read_bytes()
    for name in ("results.json", "000001-0.png"):
        assert (tmp_path / "found" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def predict(data: Path, weights: Path, out: Path, *more: str) -> None:
    line = ["detect", "predict", str(data / "images"), "--weights", str(weights), "--out", str(out), "--device", "cpu"]
    main([*line, "--threshold", "0.01", *more])


@pytest.fixture(scope="module")
def windowed(data, encoder, tmp_path_factory) -> Path:
    """A detector with windows in its blocks but one."""
    out = tmp_path_factory.mktemp("windowed") / "run"
    main(words(data, encoder, out, *STEPS, "--window", "2", "--global-blocks", "4"))
    return out


def test_without_pictures_there_are_the_lists_alone(data, windowed, tmp_path):
    predict(data, windowed, tmp_path / "drawn")
    predict(data, windowed, tmp_path / "listed", "--no-pictures")
    assert {path.name for path in (tmp_path / "listed").iterdir()} == {"results.json", "images.json"}
    drawn, listed = (json.loads((tmp_path / name / "images.json").read_text()) for name in ("drawn", "listed"))
    assert len([one.pop("picture") for one in drawn["images"]]) == 3 and listed == drawn
    drawn, listed = ((tmp_path / name / "results.json").read_bytes() for name in ("drawn", "listed"))
    assert b"segmentation" in listed and listed == drawn


def test_window_0_is_the_detector_without_windows(data, windowed, tmp_path, capsys):
    found = find_detector(windowed)
    plain = replace(
        found, facts=replace(found.facts, detection=replace(found.facts.detection, window=None, global_blocks=None))
    )
    save_detector(tmp_path / "plain.safetensors", fill_detector(plain, torch.device("cpu")), plain.facts)
    for name, weights, more in (
        ("zero", windowed, ["--window", "0"]),
        ("plain", tmp_path / "plain.safetensors", []),
        ("windowed", windowed, []),
    ):
        said = evaluated(capsys, data, weights, "--predictions", str(tmp_path / f"{name}.json"), *more)
        assert said["window"] == (2 if name == "windowed" else None)
    zero, expected, other = ((tmp_path / f"{name}.json").read_bytes() for name in ("zero", "plain", "windowed"))
    assert zero == expected != other


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--shortest-side", "0"],
            "shortest_side must be pixels of at least 1 and at most longest_side, got 0 and",
        ),
        (
            ["--longest-side", "50"],
            "shortest_side must be pixels of at least 1 and at most longest_side, got 64 an",
        ),
        (["--window", "-1"], "window must lie in [1, 65536], got -1"),
    ],
)
def test_what_cannot_be_used_is_called_by_what_was_typed(data, windowed, tmp_path, capsys, more, message):
    line = [str(data), "--weights", str(windowed), "--device", "cpu", *more]
    assert message in refused(capsys, "detect", "evaluate", *line)
    assert message in refused(capsys, "detect", "predict", *line, "--out", str(tmp_path / "out"))


def test_a_run_that_waits_for_its_images_is_told_of_workers_alone(data, encoder, tmp_path, capsys, monkeypatch):
    """Packed images have no objects."""
    monkeypatch.setattr(waiting, "WAITING", -1.0)
    monkeypatch.setattr(waiting, "count_cores", lambda: 4)
    for more in (["--dry-run"], []):
        capsys.readouterr()
        main(words(data, encoder, tmp_path / "run", *FEW, *more))
        captured = capsys.readouterr()
        said = " ".join((captured.out + captured.err).split())
        assert "more --workers read beside the training" in said and "pcae pack" not in said
