"""From an encoder to a detector, the same after an interruption; figures are pycocotools'; wrong input is one line."""

import contextlib
import io
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import masks_to_boxes

from pcae.cli import main
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.runs import detection
from pcae.runs.run import TrainingRun
from pcae.settings.network import EncoderConfig
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.detection import Detection
from pcae.training.checkpoint import read, read_header
from pcae.weights.detectors import (
    DETECTOR_FILE,
    DetectorFacts,
    build_detection,
    fill_detector,
    find_detector,
    save_detector,
)
from pcae.weights.files import save_model
from tests import shapes
from tests.processes import assert_same, succeed, together

pytestmark = pytest.mark.trains

TINY = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(32, 32), patch_size=16, channels=3, width=24, depth=5, heads=2
)
TRAIN = [
    "--pyramid-channels", "16", "--head-width", "32", "--mask-channels", "16", "--mask-convs", "1",
    "--anchors", "8", "16", "32", "64", "128", "--sampled-proposals", "16", "--score-threshold", "0.01",
    "--detections-per-image", "20", "--shortest-sides", "64", "--longest-side", "100", "--batch-size", "2",
    "--base-lr", "0.4", "--drop-path", "0.2", "--evaluate-every", "2ep", "--log-every", "1", "--keep-checkpoints", "9",
    "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    for name in ("train", "val"):
        shapes.make(folder, shapes.content(), name)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    torch.manual_seed(0)
    save_model(path, build_encoder(TINY).vit, PretrainedFacts(encoder=TINY, mean=[0.4] * 3, std=[0.3] * 3))
    return path


def words(data: Path, weights: Path, out: Path, *more: str) -> list[str]:
    return ["detect", "train", str(data), "--weights", str(weights), "--out", str(out), *TRAIN, *more]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, data, encoder) -> Path:
    """6 steps, with checkpoints after 2, 4 and 6."""
    out = tmp_path_factory.mktemp("detect") / "unbroken"
    main(words(data, encoder, out, "--steps", "6", "--checkpoint-every", "2"))
    return out


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A detector as it begins: the same twenty boxes or so on every image, each class as probable as the others."""
    detection = DetectionConfig(
        pyramid_channels=16, head_width=32, mask_channels=16, mask_convs=1, anchors=(8, 16, 32, 64, 128),
        sampled_proposals=16, score_threshold=0.01, detections_per_image=20,
    )  # fmt: skip
    facts = DetectorFacts(
        encoder=TINY, detection=detection, classes=["disc", "angle", "bar"], category_ids=[7, 3, 20],
        mean=[0.4] * 3, std=[0.3] * 3, min_size=64, max_size=100,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("begun") / DETECTOR_FILE
    torch.manual_seed(0)
    save_detector(path, build_detection(facts), facts)
    return path.parent


@pytest.fixture
def planted(monkeypatch) -> None:
    """Every detector finds the disc, most of the angle, the bar where there is none, and another disc that is none."""

    def predict(self, images):
        disc, angle, bar = torch.from_numpy(shapes.shapes(*images[0].shape[-2:])).bool()
        cut = angle.clone()
        cut[:, torch.arange(angle.shape[1]) > angle.shape[1] * 0.76] = False
        masks = torch.stack([disc, disc.flip(0, 1), cut, bar.flip(0)])
        labels, scores = torch.tensor([1, 1, 2, 3]), torch.tensor([0.9, 0.8, 0.7, 0.6])
        return [{"boxes": masks_to_boxes(masks), "labels": labels, "scores": scores, "masks": masks}]

    monkeypatch.setattr(Detection, "predict", predict)


def refused(capsys, *line: str) -> str:
    """The one line of a command that is refused."""
    with pytest.raises(SystemExit) as stop:
        main([*line])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("pcae: ") == 1 and said.strip().splitlines()[-1].startswith("pcae: ")
    return said


def evaluated(capsys, data: Path, weights: Path, *more: str) -> dict:
    capsys.readouterr()
    main(["detect", "evaluate", str(data), "--weights", str(weights), "--device", "cpu", "--json", *more])
    return json.loads(capsys.readouterr().out)


def test_a_run_folder_holds_what_is_promised(unbroken):
    assert {path.name for path in unbroken.iterdir()} == {
        "config.yaml", "metrics.jsonl", "tensorboard", "checkpoints", "detector.safetensors", "best.safetensors",
        "summary.json", "report.html",
    }  # fmt: skip
    summary = json.loads((unbroken / "summary.json").read_text())
    assert (summary["images"], summary["held_out"], summary["classes"], summary["steps"]) == (3, 3, 3, 6)
    rows = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    looks = [row for row in rows if "mask_ap" in row]
    assert [row["step"] for row in looks] == [3, 6]
    assert summary["best_ap"] == max(row["mask_ap"] for row in looks)
    assert sum(value for name, value in rows[0].items() if name.startswith("loss_")) == pytest.approx(rows[0]["loss"])


def test_the_detector_knows_what_it_is(unbroken):
    facts = find_detector(unbroken).facts
    assert (facts.classes, facts.category_ids) == (["disc", "angle", "bar"], [7, 3, 20])
    assert (facts.mean, facts.min_size, facts.max_size) == ([0.4] * 3, 64, 100)
    assert facts.detection.pyramid_channels == 16 and facts.encoder == TINY


def test_six_steps_equal_two_resume_and_four_bit_for_bit(unbroken, data, encoder, tmp_path):
    """Views, sampled boxes and drop path go on as they would have."""
    checkpoint = unbroken / "checkpoints" / "step-00000002.safetensors"
    main(words(data, encoder, tmp_path / "resumed", "--steps", "6", "--resume", str(checkpoint)))
    assert_same(unbroken, tmp_path / "resumed", 6)


def test_a_finished_run_is_left_as_it_is(unbroken, data, encoder):
    before = {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()}
    main(words(data, encoder, unbroken, "--steps", "6"))
    assert {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()} == before


def test_a_run_that_is_asked_to_stop_is_saved_and_goes_on(unbroken, data, encoder, tmp_path, monkeypatch):
    stop_if, out = TrainingRun.stop_if, tmp_path / "run"

    def at_step(self, asked):
        if self.progress.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)  # is heard in the next step
        stop_if(self, asked)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "stop_if", at_step)
        with pytest.raises(SystemExit) as stop:
            main(words(data, encoder, out, "--steps", "6"))
    assert stop.value.code == 75 and not (out / "detector.safetensors").exists()
    assert (out / "checkpoints" / "last").read_text() in {"step-00000002.safetensors", "step-00000003.safetensors"}
    main(words(data, encoder, out, "--steps", "6"))
    assert_same(unbroken, out, 6)


def test_it_begins_with_the_weights_and_earlier_blocks_move_less(data, encoder, tmp_path):
    out = tmp_path / "run"
    rate = ["--base-lr", "0.0128", "--warmup-epochs", "0", "--weight-decay", "0", "--drop-path", "0"]
    main(words(data, encoder, out, "--steps", "1", *rate))
    before, after = read(encoder)[0], read(out / "detector.safetensors")[0]
    moved = [
        (
            after[f"network.backbone.encoder.vit.blocks.{block}.mlp.fc2.weight"]
            - before[f"blocks.{block}.mlp.fc2.weight"]
        )
        .abs()
        .max()
        .item()
        for block in range(5)
    ]  # AdamW's first step is the learning rate itself: 0.0128 * 2 / 256
    assert moved == pytest.approx([1e-4 * 0.7 ** (5 - block) for block in range(5)], rel=0.05)


def test_evaluate_has_the_figures_of_pycocotools_on_what_it_wrote(begun, planted, data, tmp_path, capsys):
    path = tmp_path / "found.json"
    found = evaluated(capsys, data, begun, "--predictions", str(path))
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(data / "val.json"))
            evaluation = COCOeval(truth, truth.loadRes(str(path)), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        assert [found[name][key] for key in ("ap", "ap50", "ap75")] == pytest.approx(evaluation.stats[:3], abs=1e-6)
        by_category = evaluation.eval["precision"][..., 0, -1].mean((0, 1))
        assert [found[name]["by_category"][key] for key in ("angle", "disc", "bar")] == pytest.approx(by_category)
        assert 0 < found[name]["ap"] < found[name]["ap50"] < 1
    assert found["images_per_second"] > 0


def test_the_last_look_of_a_run_has_what_evaluate_finds(data, encoder, tmp_path, capsys, monkeypatch):
    """The same objects, to the bit, and the figures of these."""
    predict, seen = Detection.predict, []
    monkeypatch.setattr(Detection, "predict", lambda self, images: seen.append(predict(self, images)) or seen[-1])
    out = tmp_path / "run"
    main(words(data, encoder, out, "--steps", "1", "--base-lr", "0.01"))
    found = evaluated(capsys, data, out)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["box_ap"], summary["mask_ap"]) == (found["box"]["ap"], found["mask"]["ap"])
    assert len(seen) == 6
    for (looked,), (evaluated_,) in zip(seen[:3], seen[3:], strict=True):
        assert len(looked["boxes"]) and all(torch.equal(value, evaluated_[name]) for name, value in looked.items())


def test_tables_are_printed(begun, data, capsys):
    capsys.readouterr()
    main(["detect", "evaluate", str(data), "--weights", str(begun / DETECTOR_FILE), "--device", "cpu"])
    said = capsys.readouterr()
    assert "AP50" in said.out and "angle" in said.out and "images/s" in said.err


def test_a_detector_is_used_otherwise_than_it_was_trained(begun, data, tmp_path, capsys):
    def used(*more: str) -> tuple[dict, bytes]:
        found = evaluated(capsys, data, begun, "--predictions", str(tmp_path / "found.json"), *more)
        return found, (tmp_path / "found.json").read_bytes()

    _, plain = used()
    more = ["--drop-ratio", "0.5", "--reduce-after", "1"]
    found, other = used(*more, "--shortest-side", "48")
    assert (found["drop_ratio"], found["shortest_side"], found["longest_side"]) == (0.5, 48, 100)
    assert used(*more)[1] != plain != other
    assert used("--window", "2")[0]["window"] == 2
    line = ["detect", "evaluate", str(data), "--weights", str(begun), *more, "--window", "2"]
    assert "stands before block 3, whose windows need every token" in refused(capsys, *line)
    assert used("--drop-ratio", "0", "--reduce-after", "1")[1] == plain


def test_predict_lists_and_draws_any_images_and_names_those_it_cannot_read(begun, data, tmp_path, capsys):
    folder, out = tmp_path / "images", tmp_path / "found"
    shutil.copytree(data / "images", folder)
    (folder / "torn.png").write_bytes(b"torn")
    line = ["detect", "predict", str(folder), "--weights", str(begun), "--out", str(out), "--device", "cpu"]
    main([*line, "--threshold", "0.02", "--max-bad-files", "0.5"])
    assert "'" + str(folder / "torn.png") in capsys.readouterr().err
    listed, results = (json.loads((out / name).read_text()) for name in ("images.json", "results.json"))
    assert [(one["id"], one["file_name"]) for one in listed["images"]] == [(1, "0.png"), (2, "1.png"), (3, "2.png")]
    assert listed["categories"][0] == {"id": 7, "name": "disc"}
    assert {one["image_id"] for one in results} == {1, 2, 3} and min(one["score"] for one in results) > 0.02
    for one in listed["images"]:
        before, after = Image.open(folder / one["file_name"]), Image.open(out / one["picture"])
        assert before.size == after.size and before.tobytes() != after.tobytes()
    with contextlib.redirect_stdout(io.StringIO()):
        (out / "truth.json").write_text(json.dumps(listed | {"annotations": []}))
        assert len(COCO(str(out / "truth.json")).loadRes(str(out / "results.json")).anns) == len(results)


def test_nothing_above_the_threshold_leaves_the_picture_as_it_is(begun, data, tmp_path):
    words = ["--weights", str(begun), "--out", str(tmp_path / "out"), "--threshold", "0.999", "--device", "cpu"]
    main(["detect", "predict", str(data / "images" / "0.png"), *words])
    (picture,) = (tmp_path / "out").glob("*.png")
    assert Image.open(picture).tobytes() == Image.open(data / "images" / "0.png").tobytes()


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(data, encoder, tmp_path, capsys):
    main(words(data, encoder, tmp_path / "run", "--steps", "9", "--dry-run", "--json"))
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 9 and found["peak_bytes"] > 1e6 and found["images_per_second"] > 0
    assert not (tmp_path / "run").exists()


def changed(**more) -> dict:
    """Annotations of which one is otherwise."""
    content = shapes.content()
    content["annotations"][4] |= more
    return content


WRONG = [
    (changed(image_id=99), "annotation 5 of image 99 is of an image that is not among the images; mend or remove them"),
    (changed(category_id=4), "annotation 5 of image 11 is of the category 4, which is not among the categories"),
    (changed(bbox=[3, 3, 0, 9]), "has a box of no area"),
    (shapes.content() | {"annotations": []}, "have no annotations"),
    (None, "are an empty file"),
]


@pytest.mark.parametrize(("content", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_annotations_are_one_line(data, encoder, tmp_path, capsys, content, message):
    path = tmp_path / "wrong.json"
    path.write_text("" if content is None else json.dumps(content))
    more = ["--images", str(data / "images"), "--validation", str(data / "val.json")]
    assert message in refused(capsys, *words(path, encoder, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--image-size", "64", "64"], "images have the size of their views"),
        (["--crop-scale", "0.5", "1"], "crop_scale is not for images with objects; use --views"),
        (["--stream"], "stream is not for images with objects"),
        (["--reduce-after", "1"], "reduce_after (1,) drops nothing without drop_ratio"),
        (["--pixel-range", "5", "5"], "pixel_range must be two values, black below white"),
        (["--mean", "0.5", "0.5", "--std", "0.2", "0.2"], "mean and std must have 3 values"),
        (["--mean", "0", "0", "0", "--std", "0", "0", "0"], "std must be positive"),
        (["--jitter-scale", "1", "inf"], "jitter_scale must be positive, got inf"),
        (["--drop-ratio", "0.3"], "drop_ratio 0.3 needs blocks after which tokens are dropped"),
        (["--longest-side", "30000"], "must lie in [1, 20000], got 30000"),
        (["--lr-drops", "0.9", "0.7"], "lr_drops must be shares of the run, ascending"),
        (["--evaluate-every", "0"], "evaluate_every must be positive"),
        (["--recipe", "finetune-small"], "is for another verb"),
    ],
)
def test_wrong_settings_are_one_line(data, encoder, tmp_path, capsys, more, message):
    assert message in refused(capsys, *words(data, encoder, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("many", "recipe"), [(10_000, "detect-small"), (3, "detect-coco-vit-b")])
def test_recipe_auto_goes_by_the_number_of_images(data, encoder, tmp_path, capsys, monkeypatch, many, recipe):
    monkeypatch.setattr(detection, "MANY_IMAGES", many)
    main([*words(data, encoder, tmp_path / "run", "--recipe", "auto", "--steps", "1", "--grad-checkpointing")])
    assert f"recipe auto: {recipe} (3 images)" in capsys.readouterr().err
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["recipe"] == recipe


def test_a_file_is_no_held_out_images_of_itself_unless_that_is_said(data, encoder, tmp_path, capsys):
    line = words(data / "train.json", encoder, tmp_path / "run", "--steps", "1")
    assert "has no held-out images; add --validation OTHER.json" in refused(capsys, *line)
    main([*line, "--validation", str(data / "train.json")])
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["held_out"] == 3


def test_weights_that_are_no_detector_and_damaged_ones_are_one_line(data, encoder, begun, tmp_path, capsys):
    line = ["detect", "evaluate", str(data), "--weights"]
    assert "holds no detector of pcae's" in refused(capsys, *line, str(encoder))
    assert "with detector.safetensors" in refused(capsys, *line, str(tmp_path))
    (tmp_path / "half").write_bytes((begun / "detector.safetensors").read_bytes()[:9000])
    assert "no whole safetensors file" in refused(capsys, *line, str(tmp_path / "half"))
    others = shapes.content()
    others["categories"][0]["name"] = "ball"
    (tmp_path / "other.json").write_text(json.dumps(others))
    line = ["detect", "evaluate", str(tmp_path / "other.json"), "--images", str(data / "images")]
    assert "'ball' is in one of them alone" in refused(capsys, *line, "--weights", str(begun))


def test_held_out_images_that_cannot_be_read_are_left_out_of_the_figures(data, begun, planted, tmp_path, capsys):
    """Their objects do not count as missed: each disc that was read is found."""
    content = json.loads((data / "val.json").read_text())
    torn = content["images"][0]
    shutil.copytree(data / "images", tmp_path / "images")
    (tmp_path / "images" / torn["file_name"]).write_bytes(b"torn")
    (tmp_path / "all.json").write_text(json.dumps(content))
    content["images"] = content["images"][1:]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != torn["id"]]
    (tmp_path / "without.json").write_text(json.dumps(content))
    found, expected = (
        evaluated(capsys, tmp_path / f"{name}.json", begun, "--max-bad-files", "0.5") for name in ("all", "without")
    )
    for name in ("images", "objects", "box", "mask"):
        assert found[name] == expected[name]
    assert found["mask"]["by_category"]["disc"] == pytest.approx(1)


def test_two_words_are_one_verb(capsys):
    for line in (["detect"], ["detect", "--help"]):
        main(line)
        said = capsys.readouterr().out
        assert all(f"detect {verb}" in said for verb in ("train", "evaluate", "predict"))
    assert "unknown verb 'detect trian'; did you mean 'detect train'?" in refused(capsys, "detect", "trian")
    assert "did you mean 'detect'?" in refused(capsys, "detec")


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--fully-shard"]], ids=["each with all weights", "split weights"])
def test_two_processes_train_one_detector_and_share_the_images(data, encoder, tmp_path, capsys, more):
    out, path = tmp_path / "run", tmp_path / "found.json"
    succeed(*together(["pcae", *words(data, encoder, out, "--steps", "3", *more)]))
    assert read_header(out / "checkpoints" / "step-00000003.safetensors")["step"] == 3
    assert all(value.isfinite().all() for value in fill_detector(find_detector(out), torch.device("cpu")).parameters())
    found = evaluated(capsys, data, out)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["box_ap"], summary["mask_ap"]) == (found["box"]["ap"], found["mask"]["ap"])
    line = ["detect", "evaluate", str(data), "--weights", str(out), "--device", "cpu", "--predictions"]
    succeed(*together(["pcae", *line, str(path)]))
    main([*line, str(tmp_path / "alone.json")])
    assert path.read_bytes() == (tmp_path / "alone.json").read_bytes()
