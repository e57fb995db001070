"""Rows that are odd, share things, fail in parts or are measured again."""

import json
from pathlib import Path

import pytest
import yaml

from pcae.cli import main
from pcae.comparison import cell, compare
from pcae.comparison.paper_rows import paper_comparison
from pcae.comparison.speed import key_of
from pcae.runs import finetuning
from tests.comparison.test_compare import ROWS, SMALL, call, described, photos  # noqa: F401
from tests.processes import together

MAE = {"name": "MAE", "pretrain": {"method": "mae"}}
SCRATCH = {"name": "random weights", "scratch": True}


def cells_of(out: Path) -> dict[str, dict[str, float]]:
    """Values by row."""
    found = [json.loads(path.read_text()) for path in (out / "cells").glob("*seed*.json")]
    return {one["row"]: {name: entry["value"] for name, entry in one["measured"].items()} for one in found}


def test_random_weights_are_measured_again_and_shared_by_rows(photos, tmp_path):  # noqa: F811
    """First kNN alone, then fine-tuning too; another row fine-tunes the same network otherwise."""
    words = (photos, "--out", str(tmp_path / "out"))
    assert call(*words, "--rows", described(tmp_path, [SCRATCH])) == 0
    knn = cells_of(tmp_path / "out")["random weights"]["knn"]
    other = {"name": "other", "scratch": True, "finetune": {"drop-ratio": 0.2}}
    rows = described(tmp_path, [SCRATCH, other], measures=["knn", "finetuned"])
    assert call(*words, "--rows", rows) == 0
    found = cells_of(tmp_path / "out")
    assert found["random weights"]["knn"] == found["other"]["knn"] == knn
    assert {"knn", "finetuned"} == found["other"].keys() == found["random weights"].keys()


def test_a_row_that_fails_at_one_measure_keeps_the_others_and_is_finished_later(photos, tmp_path, monkeypatch):  # noqa: F811
    def broken(*_):
        raise RuntimeError("no fine-tuning today")

    rows = described(tmp_path, [SCRATCH, MAE], measures=["knn", "finetuned"])
    words = (photos, "--rows", rows, "--out", str(tmp_path / "out"))
    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "train", broken)
        assert call(*words) == 1
    shown = json.loads((tmp_path / "out" / "rows.json").read_text())["rows"]
    assert all(set(row["cells"]["0"]) == {"knn"} for row in shown)
    assert shown[1]["failed"] == {"0": "RuntimeError: no fine-tuning today"}
    assert call(*words) == 0
    assert all({"knn", "finetuned"} <= values.keys() for values in cells_of(tmp_path / "out").values())


def test_the_budget_of_seconds_of_a_finished_row_does_not_change_when_rows_come(photos, tmp_path, monkeypatch):  # noqa: F811
    speeds = {"PCAE": {"seconds_per_step": 0.5}, "MAE": {"seconds_per_step": 0.5}}
    begun: list[str] = []
    original = cell.measure_runs
    monkeypatch.setattr(compare, "measure_speeds", lambda *_: (speeds, {}))
    monkeypatch.setattr(cell, "measure_runs", lambda *words: begun.append(words[0].row.name) or original(*words))
    words = (photos, "--out", str(tmp_path / "out"), "--seconds", "2", "--rows")
    assert call(*words, described(tmp_path, ROWS[:1], measures=["knn"])) == 0
    speeds["PCAE"] = {"seconds_per_step": 0.3}  # another day
    assert call(*words, described(tmp_path, ROWS[:2], measures=["knn"])) == 0
    assert begun == ["PCAE", "MAE"]


def test_a_row_without_speed_fails_under_a_budget_of_seconds(photos, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(compare, "measure_speeds", lambda *_: ({"PCAE": {}, "MAE": {"seconds_per_step": 1.0}}, {}))
    words = (photos, "--out", str(tmp_path / "out"), "--seconds", "2", "--rows")
    assert call(*words, described(tmp_path, ROWS[:2], measures=["knn"])) == 1
    assert cells_of(tmp_path / "out").keys() == {"MAE"}


def test_what_could_not_be_measured_is_said_and_tried_again(photos, tmp_path, capsys):  # noqa: F811
    """A missing file of weights; then it is there."""
    weights = tmp_path / "later"
    rows = described(tmp_path, [{"name": "later", "pretrain": {"init": str(weights)}}], measures=["training_gmacs"])
    words = (photos, "--rows", rows, "--out", str(tmp_path / "out"))
    assert call(*words) == 1 and call(*words) == 1
    shown = json.loads((tmp_path / "out" / "rows.json").read_text())["rows"][0]
    assert "neither a run folder" in shown["failed"]["0"]
    settings = [f"--{name}={value}" for name, value in SMALL.items() if not isinstance(value, list)]
    main(["pretrain", photos, "--out", str(weights), *settings, "--image-size", "28", "28", "--device", "cpu"])
    rows = described(
        tmp_path,
        [{"name": "later", "pretrain": {"init": str(weights), "steps": 1, "batch-size": 2}}],
        measures=["training_gmacs"],
        pretrain={"decoder-width": 16, "decoder-heads": 2},
    )
    assert call(photos, "--rows", rows, "--out", str(tmp_path / "out")) == 0


def test_rows_of_different_sizes_are_measured_each_at_its_own(photos, tmp_path):  # noqa: F811
    rows = [
        {"name": "28", "finetune": {}},
        {"name": "fine-tuned at 56", "finetune": {"image-size": [56, 56]}},
        {"name": "32", "pretrain": {"image-size": [32, 32]}},
    ]
    measures = ["inference_gmacs", "inference_images_per_second", "training_gmacs"]
    file = described(tmp_path, rows, measures=measures)
    assert call(photos, "--rows", file, "--out", str(tmp_path / "out")) == 0
    once = {row["name"]: row["once"] for row in json.loads((tmp_path / "out" / "rows.json").read_text())["rows"]}
    assert once["28"]["inference_gmacs"] < once["32"]["inference_gmacs"] < once["fine-tuned at 56"]["inference_gmacs"]
    assert once["28"]["training_gmacs"] == once["fine-tuned at 56"]["training_gmacs"] < once["32"]["training_gmacs"]


def test_speed_is_known_by_all_that_decides_it(tmp_path):
    """Accumulation, channels, classes, processes, image size, precision, network, but neither length nor seed."""
    from dataclasses import replace

    import torch

    from pcae.comparison.rows import Conditions, Row
    from pcae.training.distributed import World

    at = Conditions(
        data="sample", files="", channels=1, classes=10, runs=tmp_path, device="cpu", workers=0, accumulation=1
    )
    world = World(0, 1, torch.device("cpu"))

    def key(at=at, world=world, seed=0, finetune=None, **settings):
        small = {name.replace("-", "_"): value for name, value in SMALL.items()}
        row = Row(name="A", pretrain=small | settings, finetune=finetune or {})
        return key_of(cell.cell_of(row, seed, at, tmp_path), at, world)

    usual = key()
    assert usual == key(steps=7) == key(seed=3) == key(base_lr=1.0)
    for other in (
        key(replace(at, accumulation=2)), key(replace(at, channels=3)), key(replace(at, classes=3)),
        key(world=World(0, 2, world.device)), key(finetune={"image_size": [56, 56]}), key(precision="bf16"),
        key(width=36, heads=3), key(method="mae"), key(finetune={"drop_ratio": 0.4}),
    ):  # fmt: skip
        assert other != usual


def test_settings_that_do_not_go_together_are_left_out_where_they_are_shared(tmp_path):
    """A shared teacher for methods that have none, a shared momentum for a row with its own fixed teacher."""
    from pcae.comparison.rows import read_rows

    shared = {"teacher": "w", "decoder-width": 16, "stages": 2}
    rows = [{"name": name, "pretrain": {"method": name}} for name in ("pcae", "mae", "simmim", "mae-discard")]
    path = described(tmp_path, rows, pretrain=shared)
    found = {one.name: one.pretrain.keys() - {"method"} for one in read_rows(Path(path)).rows}
    assert found == {
        "pcae": {"teacher", "decoder_width", "stages"}, "mae": {"decoder_width"}, "simmim": set(),
        "mae-discard": {"teacher", "decoder_width", "stages"},
    }  # fmt: skip
    taught = [{"name": "taught", "pretrain": {"teacher": "w"}}]
    path = described(tmp_path, taught, pretrain={"momentum": 0.99, "stages": 2})
    assert read_rows(Path(path)).rows[0].pretrain.keys() == {"teacher", "stages"}


def test_each_scale_has_a_stand_in_of_its_own(tmp_path):
    def teacher(scale: str) -> str:
        rows = paper_comparison(12, scale, tmp_path).rows
        return next(row.pretrain["teacher"] for row in rows if row.name == "PCAE-Pretrained")

    assert teacher("smoke") != teacher("small") and teacher("small") == teacher("small")
    assert teacher("paper") == "timm:vit_small_patch16_224.dino"


@pytest.mark.parametrize("name", ["x [/y]", "[red]x", "a" * 300, "größer 3/4 | \\ *", "日本語", "-", "../../x"])
def test_odd_names_of_rows_are_only_names(photos, tmp_path, capsys, name):  # noqa: F811
    rows = described(tmp_path, [{"name": name}], measures=["knn"])
    assert call(photos, "--rows", rows, "--out", str(tmp_path / "out")) == 0
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 1 and {path.name for path in tmp_path.iterdir()} == {
        "rows.yaml", "out",
    }  # fmt: skip
    assert json.loads((tmp_path / "out" / "rows.json").read_text())["rows"][0]["name"] == name


def test_the_users_own_file_is_not_written_over_and_dots_in_its_name_stay(photos, tmp_path, capsys):  # noqa: F811
    file = yaml.safe_load(Path(described(tmp_path, ROWS[:1], measures=["knn"])).read_text())
    (tmp_path / "rows.json").write_text(json.dumps(file))
    assert call(photos, "--rows", str(tmp_path / "rows.json"), "--out", str(tmp_path)) == 2
    assert json.loads((tmp_path / "rows.json").read_text()) == file
    assert "would be written over rows" in capsys.readouterr().err
    (tmp_path / "rows.v1.yaml").write_text(json.dumps(file))
    assert call(photos, "--rows", str(tmp_path / "rows.v1.yaml"), "--out", str(tmp_path / "out")) == 0
    assert (tmp_path / "out" / "rows.v1.md").exists()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"probe": {"pixels": True}, "rows": ROWS}, "row PCAE: pixels is the comparison's to set"),
        ({"probe": {"pool": ["cls"]}, "rows": ROWS}, "row PCAE: pool is the comparison's to set"),
        ({"probe": {"k": [1, 20]}, "rows": ROWS}, "k must be one number here"),
        ({"measures": [], "rows": ROWS}, "has no measures"),
        ({"pretrain": None, "rows": ROWS}, "pretrain takes `name: value` lines"),
        ({"rows": ["a", "b"]}, "must hold `rows:` with a list"),
        ({"rows": [{"name": " "}]}, "a row with an empty name"),
        ({"rows": [{"pretrain": {}}]}, "a row without a name"),
    ],
)
def test_odd_files_of_rows_are_refused_in_one_line(photos, tmp_path, capsys, file, message):  # noqa: F811
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump(file))
    assert call(photos, "--rows", str(tmp_path / "rows.yaml"), "--out", str(tmp_path / "out")) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_damaged_files_are_named(photos, tmp_path, capsys):  # noqa: F811
    rows = described(tmp_path, ROWS[:1], measures=["knn", "training_gmacs"])
    words = (photos, "--rows", rows, "--out", str(tmp_path / "out"))
    assert call(*words) == 0
    kept = next((tmp_path / "out" / "cells").glob("*seed*.json"))
    whole = kept.read_text()
    for torn in ("{", '{"measured": null}', '{"measured": {"knn": 3}}'):
        kept.write_text(torn)
        assert call(*words) == 1 and f"{kept} is no whole cell" in capsys.readouterr().err
    kept.write_text(whole)
    speeds = next((tmp_path / "out" / "cells").glob("pace-*.json"))
    for torn in ("{", '{"x": 1}', '{"values": {"PCAE": 3}}'):
        speeds.write_text(torn)
        assert call(*words) == 2 and f"{speeds} is damaged" in capsys.readouterr().err


def test_seconds_of_several_devices_are_told_apart(photos, tmp_path):  # noqa: F811
    rows = described(tmp_path, ROWS[:2], measures=["seconds"])
    words = (photos, "--rows", rows, "--out", str(tmp_path / "out"))
    assert call(*words) == 0
    assert "several devices" not in (tmp_path / "out" / "rows.md").read_text()
    kept = next((tmp_path / "out" / "cells").glob("mae-seed*.json"))
    kept.write_text(kept.read_text().replace('"device": "cpu', '"device": "cuda, V100; cpu'))
    assert call(*words) == 0
    assert "Seconds were measured on several devices: " in (tmp_path / "out" / "rows.md").read_text()


@pytest.mark.slow
def test_two_processes_give_the_table_of_one_and_a_failing_row_stops_neither(photos, tmp_path):  # noqa: F811
    bad = {"name": "keeps nothing", "pretrain": {"method": "pcae", "keep-ratio": 0.01}}
    rows = described(tmp_path, [bad, MAE, SCRATCH], measures=["knn", "finetuned", "training_gmacs"])
    words = ["pcae", "compare", photos, "--rows", rows, "--device", "cpu", "--out"]
    (alone,), (main, other) = together([*words, str(tmp_path / "one")], 1), together([*words, str(tmp_path / "two")])
    said = [process.communicate()[0] for process in (alone, main, other)]
    assert (alone.returncode, main.returncode) == (1, 1)
    assert [text.count("keeps nothing") for text in said] == [1, 1, 0]
    one, two = (json.loads((tmp_path / name / "rows.json").read_text())["rows"] for name in ("one", "two"))
    assert "leaves none" in one[0]["failed"]["0"] and one[0]["failed"] == two[0]["failed"]
    for world, there in zip(one[1:], two[1:], strict=True):
        assert world["cells"] == there["cells"] and world["once"] == there["once"]
