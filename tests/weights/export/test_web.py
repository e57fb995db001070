import copy
import json
import tarfile
from dataclasses import asdict

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import pcae
from pcae.settings.trained import Rule
from pcae.weights.export.formats import FORMATS, export, held_against
from pcae.weights.export.onnxruntime_web import FILES, VERSION, runtime_files
from pcae.weights.export.parity import Parity
from pcae.weights.export.together import together
from pcae.weights.export.web import dial
from tests.weights.exported import model_of, npm_package, pictures

KEPT = {0.0: [], 0.1: [21, 18, 16], 0.2: [19, 15, 12], 0.3: [16, 11, 7], 0.4: [14, 8, 4]}
"""Patches that stay of 24, by ratio: the floor of what is left, three times."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier and the folder of it."""
    model, place = model_of(classes=["a", "Öhrchen", "c"], crop_pct=0.9), tmp_path_factory.mktemp("web") / "page"
    parity = export(model, "web", place, 0.3, [pictures(model, 3)], {"index.html": b"a page"})
    assert parity.holds and parity.images == 3 * len(KEPT)
    return model, place


@pytest.mark.slow
def test_every_graph_answers_as_pytorch_does_at_its_ratio(folder):
    model, place = folder
    said, images = json.loads((place / "model.json").read_text(encoding="utf-8")), pictures(model, 1)
    assert [graph["ratio"] for graph in said["graphs"]] == list(KEPT)
    for graph in said["graphs"]:
        ratio, session = graph["ratio"], onnxruntime.InferenceSession(place / graph["file"])
        logits, *kept = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            reduced = pcae.reduce(model.encoder.vit, ratio)
            expected, stages = reduced(model.normalise(images)), reduced.encode(model.normalise(images)).stages
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=0, atol=1e-5)
        assert all(np.array_equal(ids, stage.kept_ids) for ids, stage in zip(kept, stages, strict=True))
        assert list(graph["kept"].values()) == [ids.shape[1] for ids in kept] == KEPT[ratio]
        assert [f"kept_ids_{block}" for block in graph["kept"]] == [out.name for out in session.get_outputs()[1:]]


@pytest.mark.slow
def test_weights_are_stored_once(folder):
    """All tensors of the network, and less than a fifth more: averaged keys. What is left in the graphs is small."""
    model, place = folder
    size = sum(value.numel() * 4 for value in model.encoder.vit.state_dict().values())
    stored = (place / "weights.bin").stat().st_size
    assert 0.9 * size < stored < 1.2 * size
    for path in place.glob("drop-*.onnx"):
        graph = onnx.load(path, load_external_data=False)
        assert all(len(tensor.raw_data) < 1024 for tensor in graph.graph.initializer)
    assert len([*place.glob("drop-*.onnx")]) == 5


@pytest.mark.slow
def test_the_page_is_told_how_pictures_are_read_and_what_the_classes_are(folder):
    _, place = folder
    said = json.loads((place / "model.json").read_text(encoding="utf-8"))
    expected = {"classes": ["a", "Öhrchen", "c"], "image_size": [32, 48], "channels": 3, "crop_pct": 0.9, "start": 0.3}
    expected |= {"grid": [4, 6], "multi_label": False, "onnxruntime_web": VERSION}
    assert said | expected == said and said["bytes"] == (place / "weights.bin").stat().st_size
    assert (place / "index.html").read_bytes() == b"a page"


@pytest.mark.slow
def test_a_folder_is_held_against_the_weights_again(folder):
    model, place = folder
    form, images = FORMATS["web"], [pictures(model, 2)]
    assert form.said(place) == {"drop_ratio": 0.3, "rule": asdict(model.facts.rule)}
    assert held_against(form, model, place, 0.3, images).holds
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.encoder.vit.get_parameter("head.bias").add_(1.0)
    found = held_against(form, other, place, 0.3, images)
    assert not found.holds and found.max_difference == pytest.approx(1.0, abs=1e-4) and found.images == 10


def test_the_dial_has_what_is_asked_for_and_what_was_trained_but_nothing_that_cannot_be(tmp_path):
    assert dial(model_of(classes=["a"], drop_ratios=(0.5, 0.5)), 0.25) == [0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5]
    few = model_of(classes=["a"], image_size=(16, 16))
    assert dial(few, 0.0) == [0.0, 0.1, 0.2]  # of 4 patches 0.3 leaves 2, 1 and none
    halving = model_of(classes=["a"], drop_ratios=(0.6, 0.6), rule=Rule(criterion="bipartite", fold="merge"))
    assert dial(halving, 0.0) == [0.0, 0.1, 0.2, 0.3, 0.4]  # bipartite drops half at most
    with pytest.raises(ValueError, match="leaves none"):
        export(few, "web", tmp_path / "page", 0.4, [pictures(few, 1)])
    assert not [*tmp_path.iterdir()]


WRONG = {
    "encoder without a classifier; use --to onnx": {},
    "browsers read 1 or 3 channels, the weights are for 5; use --to onnx": {"channels": 5, "classes": ["a"]},
    "bands [3, 2, 1] of a file; use --to onnx": {"bands": (3, 2, 1), "classes": ["a"]},
    "criterion random is in no graph; give another --criterion": {"rule": Rule(criterion="random"), "classes": ["a"]},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_browsers_cannot_read_or_show_is_refused_with_the_remedy(message):
    with pytest.raises(ValueError) as refused:
        FORMATS["web"].check(model_of(**WRONG[message]))
    assert message in str(refused.value)


def test_what_is_fit_for_browsers_is_taken_and_deep_pictures_are_remarked_on():
    for options in ({"channels": 1}, {"bands": (1, 2, 3)}, {"multi_label": True}):
        FORMATS["web"].check(model_of(classes=["a"], **options))
    assert FORMATS["web"].remarks(model_of(classes=["a"])) == []
    (remark,) = FORMATS["web"].remarks(model_of(classes=["a"], pixel_range=(0.0, 4095.0)))
    assert "8 bits" in remark


def parity(**other) -> Parity:
    values = {"images": 4, "max_difference": 1e-6, "size": 2.0, "tolerance": 1e-4, "same_kept": 4, "ties": 0}
    return Parity(**values | {"different": 0, "widest_gap": 0.0, "least_cosine": 1.0, "same_top1": 4} | other)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_difference": 1e-3},
        {"max_difference": float("nan"), "same_kept": 0, "ties": 4},
        {"different": 1, "same_kept": 3, "widest_gap": 0.1},
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_several_comparisons_hold_only_where_each_does(bad, first):
    both = [parity(**bad), parity(size=50.0, max_difference=1e-3)]
    whole = together(both if first else both[::-1])
    assert not whole.holds and whole.images == 8
    assert together([parity(), parity(size=50.0, max_difference=1e-3)]).holds
    assert together([parity(same_top1=None)]) == parity(same_top1=None)


def test_two_files_are_taken_of_npms_package_packed_or_not(tmp_path):
    packed = npm_package(tmp_path)
    expected = {name: name.encode() for name in FILES}
    assert runtime_files(packed) == runtime_files(tmp_path / "package") == expected


def test_another_package_is_refused_with_the_command_that_gets_the_right_one(tmp_path):
    get = f"npm pack onnxruntime-web@{VERSION}"
    other = npm_package(tmp_path / "other", version="1.2.3")
    alien = npm_package(tmp_path / "alien", name="leftpad")
    (tmp_path / "text.tgz").write_text("no archive")
    (tmp_path / "empty").mkdir()
    with tarfile.open(tmp_path / "bare.tgz", "w:gz"):
        pass
    half = npm_package(tmp_path / "half").parent / "package"
    (half / "dist" / FILES[1]).unlink()
    wrong = {
        None: "needs --onnxruntime-web PATH",
        tmp_path / "gone": "is not there",
        other: f"holds onnxruntime-web 1.2.3, the page needs onnxruntime-web {VERSION}",
        alien: f"holds leftpad {VERSION}",
        tmp_path / "text.tgz": "is no whole package of onnxruntime-web",
        tmp_path / "bare.tgz": "is no whole package",
        tmp_path / "empty": "is no whole package",
        half: "is no whole package",
    }
    for path, message in wrong.items():
        with pytest.raises(ValueError) as refused:
            runtime_files(path)
        assert message in str(refused.value) and str(refused.value).endswith(get), path
        assert "\n" not in str(refused.value)
