"""Settings come from the run, and a picture of a finished run shows what its own teacher keeps."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from pcae.cli import main
from pcae.data.images import open_images
from pcae.evaluation.kept import decide, way_of_teacher
from pcae.methods.choice import build_method
from pcae.methods.pcae import PCAE
from pcae.model.tokens import gather, patchify, split
from pcae.pages import kept_tokens as kept
from pcae.pages.kept_tokens import draw_run, settled
from pcae.settings.methods import TeacherConfig
from pcae.settings.trained import KeepingConfig
from pcae.settings.values import build
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.yaml_files import read_yaml
from pcae.training.checkpoint import Checkpoints, restore_method
from pcae.training.randomness import randomness
from pcae.weights.files import load
from tests.weights.test_teacher import SMALL


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "run"
    words = ["--momentum", "0.5", "--keep-ratio", "0.6", "--mask-ratio", "0.7", "--stages", "2", "--seed", "5"]
    main(["pretrain", "sample", "--out", str(out), *SMALL, *words])
    return out


def drawn(monkeypatch) -> list:
    """What is handed to the drawing."""
    seen: list = []
    monkeypatch.setattr(kept, "draw_stages", lambda *words: seen.append(words))
    return seen


def test_a_picture_of_a_run_shows_what_the_method_itself_would_keep(run, tmp_path, monkeypatch):
    """The run's method, built and restored as training does, decides alike."""

    images, seen = open_images("sample", "test"), drawn(monkeypatch)
    draw_run(run, images, tmp_path / "a.png", 4)
    _, pixels, columns, grid = seen[0]
    config = build(PretrainConfig, read_yaml(PretrainConfig, run / "config.yaml"))
    trained = load(run)
    method = build_method(trained.encoder, config.method, config.decoder)
    newest = Checkpoints(run / "checkpoints", 1).last()
    assert isinstance(method, PCAE) and newest
    restore_method(newest, method)
    patches = patchify(trained.normalise(pixels), (4, 4))
    random = randomness(5, 0, 4, torch.device("cpu"))
    _, hidden_ids = split(random.uniform("mask", 49), method.n_visible)
    stages = method.teacher(gather(patches, hidden_ids), hidden_ids, random).encoded.stages
    assert [title for title, _ in columns] == ["hidden", *(f"after block {stage.block}" for stage in stages)]
    for (_, ids), expected in zip(columns, [hidden_ids, *(stage.kept_ids for stage in stages)], strict=True):
        assert torch.equal(ids, expected)
    assert grid == (7, 7) and pixels.shape == (4, 1, 28, 28)


def test_a_picture_is_written(run, tmp_path):
    draw_run(run, open_images("sample", "test"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 1000


@pytest.mark.parametrize(("ratio", "blocks"), [("0.3", (0, 1, 2)), ("0:0.4", (0, 1, 2))])
def test_a_fine_tuned_run_shows_its_classifier_at_its_highest_ratio(run, tmp_path, monkeypatch, ratio, blocks):
    words = [
        "--recipe",
        "finetune-small",
        "--batch-size",
        "8",
        "--steps",
        "1",
        "--device",
        "cpu",
        "--drop-ratio",
        ratio,
    ]
    main(["finetune", "sample", "--weights", str(run), "--out", str(tmp_path / "fine"), *words])
    seen = drawn(monkeypatch)
    draw_run(tmp_path / "fine", open_images("sample", "test"), tmp_path / "a.png", 2)
    _, _, columns, _ = seen[0]
    first = {"0.3": 34, "0:0.4": 29}[ratio]
    assert [title for title, _ in columns] == [f"after block {block}" for block in blocks]
    assert columns[0][1].shape == (2, first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "mae"}, "method mae drops nothing"),
        ({"method": "simmim"}, "method simmim drops nothing"),
        ({"stages": 0}, "nothing to show"),
        ({"keep_ratio": 1.0}, "nothing to show"),
    ],
)
def test_a_run_that_drops_nothing_has_no_picture(run, tmp_path, settings, message):
    shutil.copytree(run, tmp_path / "run")
    said = yaml.safe_load((run / "config.yaml").read_text())
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(said | settings))
    with pytest.raises(ValueError, match=message):
        draw_run(tmp_path / "run", open_images("sample", "test"), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_the_runs_settings_stand_where_none_are_given(run, tmp_path):
    config = settled(KeepingConfig(keep_ratio=0.4), run)
    assert (config.keep_ratio, config.mask_ratio, config.stages, config.seed) == (0.4, 0.7, 2, 5)
    assert settled(KeepingConfig(stages_after=(1,)), run).stages is None
    folder = tmp_path / "views"
    folder.mkdir()
    said = {"stages_after": [0, 2], "mask_ratio": 0.9, "pool_ratio": 0.25, "keep_ratio": None}
    (folder / "config.yaml").write_text(yaml.safe_dump(said))
    assert settled(KeepingConfig(), folder) == KeepingConfig(stages_after=(0, 2), mask_ratio=0.75)
    assert settled(KeepingConfig(placement=2), folder).stages_after is None
    (folder / "config.yaml").write_text("stages: many\n")
    with pytest.raises(ValueError, match="stages takes a whole number, got 'many'"):
        settled(KeepingConfig(), folder)


def test_the_criterion_decides(run):
    """Random drop ranks by the draw alone, in training's own stream."""
    model = load(run)
    way = way_of_teacher(model, TeacherConfig(criterion="random", stages=1), None)
    pixels = torch.randint(0, 255, (3, 1, 28, 28), dtype=torch.uint8)
    noise = randomness(9, 0, 3, torch.device("cpu")).uniform("drop", 49)
    expected = noise.topk(24, dim=1, largest=False).indices.sort(dim=1).values
    assert torch.equal(decide(way, pixels, 0.5, seed=9).stages[0].kept_ids, expected)
    other = replace(way, at=way_of_teacher(model, TeacherConfig(stages=1), None).at)
    assert not torch.equal(decide(other, pixels, 0.5, seed=9).stages[0].kept_ids, expected)
