"""`pcae worth` as a whole, each run of a few steps: rows, cells, what is not done again, what is refused."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pcae
from pcae.cli import main
from pcae.comparison.worth import rows
from pcae.comparison.worth.plan import Piece
from pcae.comparison.worth.runs import Runs
from pcae.evaluation.recipe_choice import RecipeChoice
from tests.browser import DESKTOP, PHONE, opened

NETWORK = {
    "model": "vit_tiny_patch16_224", "width": 24, "depth": 4, "heads": 2, "patch_size": 4, "image_size": 16,
    "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2,
}  # fmt: skip
IMAGES = 18


def draw(folder: Path, count: int, level: int, seed: int = 0) -> None:
    """So many noisy pictures of a lightness."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng([seed, level])
    for index in range(count):
        pixels = np.clip(noise.normal(level, 60, (24, 30, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of two classes, as many without labels, and a run on them."""
    place = tmp_path_factory.mktemp("worth")
    for name, level in (("dark", 90), ("light", 160)):
        draw(place / "labelled" / name, IMAGES, level)
    draw(place / "more", 6, 120)
    pcae.pretrain(place / "more", place / "run", steps=2, batch_size=4, device="cpu", **NETWORK)
    return place


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Every piece fits, and has four steps; speeds are not measured."""
    patch.setattr(Piece, "needs", lambda self: 0.0)
    patch.setattr(Piece, "shortest", lambda self, unit: 100.0)
    patch.setattr(Piece, "steps", lambda self, unit: 4)
    patch.setattr(Runs, "seconds_of_step", lambda self, task: 0.01)
    patch.setattr(rows, "recipe_for", lambda *_: RecipeChoice("sample", "the smallest network"))


@pytest.fixture
def few_steps(monkeypatch):
    """As `shorten` has it."""
    shorten(monkeypatch)


def asked(place, out, **more):
    settings = {"minutes": 20, "image_size": 16, "device": "cpu", "seeds": (0, 1)}
    return pcae.worth(place / "labelled", out=out, **settings, **more)


@pytest.fixture(scope="module")
def done(place):
    """All rows, with weights and images beside."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        found = asked(place, place / "out", weights=place / "run", unlabelled=place / "more")
    return found


def bits(place: Path, row: str, part: str, measure: str) -> list[str]:
    """What the cells of a row say was right, by seed."""
    cells = [json.loads(path.read_text()) for path in sorted((place / "out" / "cells").glob("*seed*.json"))]
    return [one["parts"][part][measure] for one in cells if one["row"] == row and part in one["parts"]]


def test_all_rows_are_there_with_all_measures(done):
    there = {row["name"]: set(row["measures"]) for row in done.rows}
    assert there.pop("raw pixels") == {"knn", "linear"}
    names = {"random weights", "run", "pre-trained from scratch", "run, continued", "run, distilled"}
    assert there.keys() == names and all(own == {"knn", "linear", "finetuned"} for own in there.values())
    assert done.verdict and done.remarks == [] and done.own is False
    assert done.images == {"train": 24, "held_out": 12, "classes": 2, "pretrained_on": 24}


def test_accuracies_and_differences_are_those_of_the_cells(place, done):
    for row in done.rows:
        trained = row["kind"] in ("pretrained", "continued", "distilled")
        own = bits(place, row["name"], "1.0" if trained else "frozen", "linear")
        assert len(own) == 2 and all(len(one) == 12 for one in own)
        assert row["measures"]["linear"]["mean"] == pytest.approx("".join(own).count("1") / 24)
        assert [one["share"] for one in row["curve"]] == ([0.25, 0.5, 1.0] if trained else [])
    means = {row["name"]: {name: one["mean"] for name, one in row["measures"].items()} for row in done.rows}
    simple = [row["name"] for row in done.rows if row["kind"] in ("pixels", "random", "given")]
    best = max(simple, key=lambda name: max(means[name].values()))
    assert done.reference.startswith(best)
    for row in done.rows:
        if row["difference"] is not None:
            mean = max(means[row["name"]].values()) - max(means[best].values())
            assert row["difference"]["mean"] == pytest.approx(mean)


def test_it_is_a_table_a_frame_and_a_page(place, done):
    assert "pre-trained from scratch" in str(done) and done.verdict[0] in str(done)
    frame = done.to_pandas()
    assert len(frame) == 2 + 5 * 3 and set(frame["measure"]) == {"knn", "linear", "finetuned"}
    said = json.loads((place / "out" / "worth.json").read_text())
    assert said["verdict"] == done.verdict and said["rows"] == done.rows
    for screen in (DESKTOP, PHONE):
        with opened(Path(done.page), screen) as page:
            assert done.verdict[0] in page.inner_text("#verdict")
            assert page.locator("svg").count() == 2 and page.locator("tr").count() == 7
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.usefixtures("few_steps")
def test_what_is_finished_is_not_done_again(place, done, monkeypatch):
    def never(*_):
        raise AssertionError("it is done again")

    for name in ("pretrained", "tuned", "features"):
        monkeypatch.setattr(Runs, name, never)
    again = asked(place, place / "out", weights=place / "run", unlabelled=place / "more")
    assert again.rows == done.rows and again.verdict == done.verdict and again.spent > done.spent


@pytest.mark.slow
@pytest.mark.usefixtures("few_steps")
def test_after_an_interruption_the_same_command_goes_on(place, tmp_path, monkeypatch):
    pretrained, calls = Runs.pretrained, []

    def once(self, config):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(config.out.name)
        return pretrained(self, config)

    monkeypatch.setattr(Runs, "pretrained", once)
    with pytest.raises(KeyboardInterrupt):
        asked(place, tmp_path / "out")
    assert not (tmp_path / "out" / "worth.json").exists() and list((tmp_path / "out" / "cells").glob("minutes-*"))
    first, calls[:] = list(calls), []
    monkeypatch.setattr(
        Runs, "pretrained", lambda self, config: calls.append(config.out.name) or pretrained(self, config)
    )
    found = asked(place, tmp_path / "out")
    assert len(first) == 4 and len(calls) == 2 and not set(first) & set(calls)
    assert [row["name"] for row in found.rows] == ["raw pixels", "random weights", "pre-trained from scratch"]


def split_in_two(place: Path, out: Path) -> Path:
    """The same pictures with held-out ones of their own."""
    for name in ("dark", "light"):
        for index, path in enumerate(sorted((place / "labelled" / name).iterdir())):
            to = out / ("val" if index % 3 == 0 else "train") / name / path.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    return out


@pytest.mark.usefixtures("few_steps")
def test_data_s_own_held_out_images_are_the_test_and_labels_can_be_few(place, tmp_path):
    data = split_in_two(place, tmp_path / "data")
    found = pcae.worth(
        data, out=tmp_path / "out", image_size=16, device="cpu", seeds=[3], most_labels=10, recipe="demo"
    )
    assert found.own and found.images == {"train": 10, "held_out": 12, "classes": 2, "pretrained_on": 24}
    assert "recipe demo" in {row["says"] for row in found.rows}


@pytest.mark.slow
@pytest.mark.usefixtures("few_steps")
def test_where_time_runs_out_what_was_done_is_told(place, tmp_path, monkeypatch):
    monkeypatch.setattr(Piece, "shortest", lambda self, unit: 0.0 if self.what == "pre-training" else 100.0)
    found = asked(place, tmp_path / "out")
    assert "pre-trained from scratch, seed 0: no time was left for pre-training" in found.remarks
    assert [row["name"] for row in found.rows] == ["raw pixels", "random weights"] and "nothing was" in found.verdict[0]


@pytest.mark.slow
@pytest.mark.usefixtures("few_steps")
def test_weights_that_cannot_go_on_are_left_out_and_said_to_be(place, tmp_path, monkeypatch):
    def build(self, config):
        if config.init:
            raise ValueError("it does not fit")
        return 0.01

    monkeypatch.setattr(Runs, "step_of_pretraining", build)
    found = asked(place, tmp_path / "out", weights=[place / "run"])
    assert "run, continued: left out, it does not fit" in found.remarks
    assert "run, continued" not in [row["name"] for row in found.rows]


def refused(words, capsys):
    """What a command says that is refused."""
    with pytest.raises(SystemExit) as stop:
        main(["worth", *map(str, words), "--device", "cpu"])
    assert stop.value.code == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pcae: ")]
    assert len(error) == 1
    return error[0]


def test_what_cannot_be_is_refused_in_one_line_before_anything_is_written(place, tmp_path, capsys):
    out, data = tmp_path / "out", place / "labelled"
    draw(tmp_path / "one" / "class", 6, 100)
    for name, count in (("many", 9), ("few", 3)):
        draw(tmp_path / "rare" / name, count, 100)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("words")
    cases = {
        "minutes 0.1 is too short: the rows that train nothing alone need about .*give --minutes": [
            data,
            "--minutes",
            "0.1",
        ],
        "has no labels; give DATA/CLASS/": [place / "more"],
        "neither a folder": [data, "--unlabelled", tmp_path / "gone"],
        "is for another verb": [data, "--recipe", "finetune-small"],
        "has one class only, 'class'": [tmp_path / "one"],
        "has 4 held-out images of 2 classes, and at least 5 of two are needed; label more": [tmp_path / "rare"],
        "seeds needs at least one value, and each once": [data, "--seeds", "1", "1"],
        "weights needs each once": [data, "--weights", place / "run", place / "run"],
        "gone": [data, "--weights", tmp_path / "gone"],
        "recipe 'nonsense' is not known": [data, "--recipe", "nonsense"],
        "minutes must": [data, "--minutes", "0"],
    }
    for reason, words in cases.items():
        assert re.search(reason, refused([*words, "--out", out], capsys)), reason
        assert not out.exists(), reason
    assert "holds something else" in refused([data, "--out", tmp_path / "other"], capsys)
    assert "lies inside the data" in refused([data, "--out", data / "out"], capsys)


def test_a_cell_that_is_damaged_is_named(place, done, capsys, monkeypatch):
    path = next((place / "out" / "cells").glob("raw-pixels-seed0-*.json"))
    whole = path.read_text()
    path.write_text(whole[:-40])
    try:
        words = [place / "labelled", "--weights", place / "run", "--unlabelled", place / "more", "--out", place / "out"]
        words += ["--image-size", "16", "16", "--seeds", "0", "1"]
        monkeypatch.setattr(rows, "recipe_for", lambda *_: RecipeChoice("sample", "the smallest network"))
        assert "is no whole cell; remove it" in refused(words, capsys)
    finally:
        path.write_text(whole)
