import json
import shutil
import signal
import time
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from pcae.cli import main
from pcae.comparison import cell, compare
from pcae.comparison import rows as row_settings
from pcae.comparison.paper_rows import paper_comparison
from pcae.comparison.rows import Conditions, Row, over, pretrain_config
from pcae.evaluation.memory import peak_bytes
from pcae.methods.choice import build_method
from pcae.model.encoder import Encoder, build_encoder
from pcae.model.pretrained import PretrainedFacts
from pcae.runs import pretraining
from pcae.settings.network import EncoderConfig
from pcae.training.distributed import World
from pcae.weights.files import save_model
from tests import few
from tests.photographs import photographs
from tests.processes import start

SMALL = {
    "model": "vit_tiny_patch16_224", "image-size": [28, 28], "patch-size": 4, "width": 24, "depth": 3, "heads": 2,
    "decoder-width": 16, "decoder-heads": 2, "decoder-depth": 1, "steps": 2, "batch-size": 4,
    "mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3],
}  # fmt: skip
TUNED = {"recipe": "finetune-fashion-mnist", "steps": 1, "batch-size": 4}
ROWS = [
    {"name": "PCAE", "pretrain": {"method": "pcae"}},
    {"name": "MAE", "pretrain": {"method": "mae"}},
    {"name": "SimMIM", "pretrain": {"method": "simmim"}},
    {"name": "random weights", "scratch": True},
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> str:
    """Labelled images of two classes, few enough for every cell to take a second."""
    root = tmp_path_factory.mktemp("labelled")
    sources = photographs()[:2]
    for index in range(32):
        folder = root / ("train" if index < 24 else "val") / ("cat", "person")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        sources[index % 2].crop((index * 4, index * 3, index * 4 + 60, index * 3 + 50)).save(folder / f"{index}.png")
    return str(root)


def described(tmp_path: Path, rows: list[dict], **more) -> str:
    path = tmp_path / "rows.yaml"
    file = {"title": "A comparison", "pretrain": SMALL, "finetune": TUNED, "measures": ["knn", "seconds"]}
    path.write_text(yaml.safe_dump(file | {"rows": rows} | more))
    return str(path)


def call(*words: str) -> int:
    try:
        main(["compare", *words, "--device", "cpu"])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_table_of_seeds_with_differences_to_the_first_row(photos, tmp_path, capsys):
    rows = described(tmp_path, ROWS, measures=["finetuned", "knn", "training_images_per_second", "peak_memory",
                                               "training_gmacs", "inference_gmacs", "seconds"])  # fmt: skip
    out = tmp_path / "out"
    assert call(photos, "--rows", rows, "--out", str(out), "--seeds", "0", "1", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in shown["rows"]] == ["PCAE", "MAE", "SimMIM", "random weights"]
    pcae, mae, _, scratch = shown["rows"]
    for row in shown["rows"]:
        assert set(row["cells"]) == {"0", "1"} and not row["failed"]
        for values in row["cells"].values():
            assert 0 <= values["knn"] <= 1 and 0 <= values["finetuned"] <= 1
    for name in ("training_images_per_second", "peak_memory", "training_gmacs"):
        assert mae["once"][name] > 0 and name not in scratch["once"]
    assert "seconds" in mae["cells"]["0"] and "seconds" not in scratch["cells"]["0"]
    assert "difference" not in pcae or "knn" not in pcae["difference"]
    gaps = [mae["cells"][seed]["knn"] - pcae["cells"][seed]["knn"] for seed in ("0", "1")]
    assert mae["difference"]["knn"]["mean"] == pytest.approx(sum(gaps) / 2)
    assert {path.name for path in out.iterdir()} >= {"rows.md", "rows.json", "rows-knn.png", "rows-finetuned.png"}
    text = (out / "rows.md").read_text()
    assert "| MAE |" in text and "kNN in %, difference" in text
    cells = [json.loads(path.read_text()) for path in (out / "cells").glob("*seed*.json")]
    assert len(cells) == 8 and all({"row", "seed", "measured", "settings"} == cell.keys() for cell in cells)
    assert all(
        {"value", "date", "device", "torch", "threads"} == entry.keys() for entry in cells[0]["measured"].values()
    )


@pytest.mark.slow
def test_an_interrupted_comparison_repeats_no_finished_cell_and_ends_in_the_same_table(photos, tmp_path, monkeypatch):
    """Stopped after each cell in turn; settings under another name in another comparison are the same cell too."""
    rows = described(tmp_path, ROWS[:3], measures=["knn"])
    begun: list[str] = []
    limits = [1, 2, 3, 4, 5, 99]
    original = cell.measure_runs

    def once_then_stop(asked, wanted, world):
        if len(begun) == limits[0]:
            raise KeyboardInterrupt
        begun.append(f"{asked.row.name} {asked.seed}")
        return original(asked, wanted, world)

    monkeypatch.setattr(cell, "measure_runs", once_then_stop)
    words = (photos, "--rows", rows, "--out", str(tmp_path / "out"), "--seeds", "0", "1")
    while limits[0] < 99:
        assert call(*words) == 130
        del limits[0]
    assert call(*words) == 0
    assert begun == [f"{name} {seed}" for seed in (0, 1) for name in ("PCAE", "MAE", "SimMIM")]
    table = (tmp_path / "out" / "rows.json").read_text()
    assert call(*words) == 0 and len(begun) == 6 and (tmp_path / "out" / "rows.json").read_text() == table

    begun.clear()
    assert call(photos, "--rows", rows, "--out", str(tmp_path / "unbroken"), "--seeds", "0", "1") == 0
    unbroken = json.loads((tmp_path / "unbroken" / "rows.json").read_text())
    assert [row["cells"] for row in json.loads(table)["rows"]] == [row["cells"] for row in unbroken["rows"]]

    begun.clear()
    renamed = described(tmp_path, [{"name": "MAE again", "pretrain": {"method": "mae"}}], measures=["knn"])
    assert call(photos, "--rows", renamed, "--out", str(tmp_path / "out"), "--seeds", "1") == 0
    assert not begun


def test_a_cell_is_known_by_its_images_and_weights_wherever_they_lie(photos, tmp_path, monkeypatch):
    """Moved data are the same cell; fewer images or other weights under the same name are another."""
    data, teacher = tmp_path / "data", tmp_path / "teacher.safetensors"
    shutil.copytree(photos, data)

    def teach(seed: int) -> None:
        torch.manual_seed(seed)
        size = EncoderConfig(image_size=(28, 28), patch_size=4, channels=3, width=24, depth=3, heads=2)
        facts = PretrainedFacts(encoder=size, mean=[0.4] * 3, std=[0.3] * 3)
        save_model(teacher, build_encoder(size).vit, facts)

    teach(0)
    begun: list[str] = []
    original = cell.measure_runs
    monkeypatch.setattr(cell, "measure_runs", lambda *words: begun.append("") or original(*words))
    taught = {"name": "taught", "pretrain": {"method": "pcae", "teacher": str(teacher)}}
    rows = described(tmp_path, [taught], measures=["knn"])
    out = str(tmp_path / "out")
    assert call(str(data), "--rows", rows, "--out", out) == 0 and len(begun) == 1
    data.rename(tmp_path / "moved")
    assert call(str(tmp_path / "moved"), "--rows", rows, "--out", out) == 0 and len(begun) == 1
    teach(1)
    assert call(str(tmp_path / "moved"), "--rows", rows, "--out", out) == 0 and len(begun) == 2
    next((tmp_path / "moved" / "train" / "cat").glob("*")).unlink()
    assert call(str(tmp_path / "moved"), "--rows", rows, "--out", out) == 0 and len(begun) == 3


def test_a_row_that_fails_loses_no_other_and_is_tried_again(photos, tmp_path, capsys):
    bad = {"name": "keeps nothing", "pretrain": {"method": "pcae", "keep-ratio": 0.01}}
    rows = described(tmp_path, [bad, *ROWS[:2]], measures=["knn", "training_gmacs"])
    words = (photos, "--rows", rows, "--out", str(tmp_path / "out"))
    assert call(*words) == 1
    shown = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert shown["rows"][0]["failed"] == {
        "0": "ValueError: keeping 0.01 of 37 tokens leaves none; keep more, or use fewer stages"
    }
    assert shown["reference"] == "PCAE" and all("knn" in row["cells"]["0"] for row in shown["rows"][1:])
    assert "failed: keeps nothing" in capsys.readouterr().err
    text = (tmp_path / "out" / "rows.md").read_text()
    assert "keeping 0.01 of 37 tokens leaves none" in text and "| keeps nothing | failed |" in text
    assert len(list((tmp_path / "out" / "cells").glob("*seed*.json"))) == 2


def test_a_budget_of_seconds_is_turned_into_steps_by_each_rows_own_speed(photos, tmp_path, monkeypatch):
    speeds = {"PCAE": {"seconds_per_step": 0.5}, "MAE": {"seconds_per_step": 1.0}}
    monkeypatch.setattr(compare, "measure_speeds", lambda *_: (speeds, {}))
    rows = described(tmp_path, ROWS[:2], measures=["knn"])
    assert call(photos, "--rows", rows, "--out", str(tmp_path / "out"), "--seconds", "3") == 0
    cells = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").glob("*seed*.json")]
    assert {found["row"]: found["settings"]["pretrain"]["steps"] for found in cells} == {"PCAE": 6, "MAE": 3}


def test_a_newer_pcae_with_one_more_setting_knows_the_cells_that_are_there(photos, tmp_path, monkeypatch):
    words = (photos, "--rows", described(tmp_path, ROWS[:1], measures=["knn"]), "--out", str(tmp_path / "out"))
    assert call(*words) == 0
    original = row_settings.to_plain
    monkeypatch.setattr(row_settings, "to_plain", lambda config: original(config) | {"brand_new": None})
    monkeypatch.setattr(cell, "measure_runs", lambda *_: pytest.fail("a finished cell was run again"))
    assert call(*words) == 0


def test_a_budget_of_epochs_holds_for_all_rows(photos, tmp_path):
    rows = described(tmp_path, ROWS[:2], measures=["knn"])
    assert call(photos, "--rows", rows, "--out", str(tmp_path / "out"), "--epochs", "0.5") == 0
    for path in (tmp_path / "out" / "cells").glob("*seed*.json"):
        settings = json.loads(path.read_text())["settings"]["pretrain"]
        assert settings["epochs"] == 0.5 and "steps" not in settings


def test_two_methods_with_the_same_seed_see_the_same_crops_and_flips(photos, tmp_path):
    at = Conditions(
        data=photos, files="", channels=1, classes=10, runs=tmp_path, device="cpu", workers=0, accumulation=1
    )
    world, seen = World(0, 1, torch.device("cpu")), []
    for method in ("pcae", "mae", "simmim"):
        settings = over(SMALL | {"crop-scale": [0.3, 1.0]}, {"method": method}, method)
        config = pretrain_config(Row(name=method, pretrain=settings), at, seed=5)
        stream = pretraining.build_task(config, world).batches()
        steps = [next(stream) for _ in range(2)]
        seen.append([(images, draw.uniform("mask", 49)) for images, draw in steps])
    for other in seen[1:]:
        for (images, mask), (theirs, their_mask) in zip(seen[0], other, strict=True):
            assert torch.equal(images, theirs) and torch.equal(mask, their_mask)


def test_the_peak_of_a_step_is_what_is_alive_at_once():
    """Two of three tensors live at the peak, beside the one that was there before."""
    held = torch.zeros(1000)

    def step() -> None:
        first = held + 1  # 4,000 bytes
        second = first * 2  # 8,000
        del first
        third = second + 1  # 8,000
        del second, third

    assert peak_bytes(step, [held], torch.device("cpu")) == 12_000


@cache
def without_weights(config: EncoderConfig) -> Encoder:
    """An encoder on the meta device; rows share few."""
    with torch.device("meta"):
        return build_encoder(config)


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
@pytest.mark.parametrize("number", [1, *range(3, 16)])
def test_every_row_of_every_table_is_a_run_that_can_be_built(number, scale, tmp_path):
    comparison = paper_comparison(number, scale, tmp_path)
    at = Conditions(
        data="sample", files="", channels=1, classes=10, runs=tmp_path, device="cpu", workers=0, accumulation=1
    )
    for row in comparison.rows:
        if row.quoted:
            assert not row.pretrain and row.paper
            continue
        config = cell.cell_of(row, 0, at, tmp_path).pretrain
        encoder = without_weights(config.encoder)
        with torch.device("meta"):
            build_method(encoder, config.method, config.decoder, encoder if config.teacher else None)


@pytest.fixture(scope="module")
def few_images(tmp_path_factory) -> str:
    return few.labelled(tmp_path_factory.mktemp("few"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, *range(3, 16)])
def test_every_table_runs_to_its_end(number, few_images, tmp_path_factory, capsys):
    """All in one folder, so that what tables share is run once."""
    out = tmp_path_factory.getbasetemp() / "tables"
    assert call(few_images, "--table", str(number), "--scale", "smoke", "--out", str(out), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    for row in shown["rows"]:
        assert not row["failed"] and (row["quoted"] or row["cells"] or row["once"])


@pytest.mark.slow
def test_a_killed_comparison_goes_on_with_the_same_cells(photos, tmp_path):
    """SIGKILL at some moment of every cell; the accuracies are those of an unbroken run."""
    rows = described(tmp_path, ROWS[:2], measures=["knn"], pretrain=SMALL | {"steps": 30, "checkpoint-every": 5})
    words = ["compare", photos, "--rows", rows, "--device", "cpu", "--out"]
    finished: dict[str, float] = {}
    for wait in (0.3, 0.6, 0.9):  # of about a second
        running = start(["pcae", *words, str(tmp_path / "out")])
        time.sleep(wait)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        for path in (tmp_path / "out" / "cells").glob("*seed*.json"):
            if "knn" in json.loads(path.read_text())["measured"]:  # else it was killed when it had the seconds alone
                assert finished.setdefault(path.name, path.stat().st_mtime) == path.stat().st_mtime
    main([*words, str(tmp_path / "out")])
    main([*words, str(tmp_path / "unbroken")])
    for path in (tmp_path / "out" / "cells").glob("*seed*.json"):
        assert path.stat().st_mtime == finished.get(path.name, path.stat().st_mtime)
    one, other = (json.loads((tmp_path / name / "rows.json").read_text()) for name in ("out", "unbroken"))
    assert [row["cells"] for row in one["rows"]] == [row["cells"] for row in other["rows"]]
