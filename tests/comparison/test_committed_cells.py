"""Every cell and speed that was committed is found again: the digest of today's settings is the file's name.

Names of settings, and what has its usual value, stand in these digests; a change of them would have all measured anew.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from pcae.comparison.cell import Cell, cell_of
from pcae.comparison.compare import conditions_of
from pcae.comparison.rows import Comparison, Conditions, digest_of, read_rows
from pcae.comparison.speed import key_of
from pcae.settings.verbs.compare import CompareConfig
from pcae.training.distributed import World

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
BY_FOLDER = {
    "fashion-mnist": ("fashion_mnist.yaml", "fashion-mnist"),
    "methods-on-sample": ("methods_on_sample.yaml", "sample"),
    "methods-on-sample/sixty-seconds": ("methods_in_sixty_seconds.yaml", "sample"),
}
"""The rows and the data of the comparisons whose cells are committed."""
OLD = "pace-f2e5f5462d1f.json"
"""Speeds of rows that are no longer in their file under these names."""


def committed(pattern: str) -> list[Path]:
    return sorted(RESULTS.glob(f"**/cells/{pattern}"))


def folder_of(path: Path) -> str:
    return str(path.parents[1].relative_to(RESULTS))


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def digest_in(path: Path) -> str:
    return path.stem.rpartition("-")[2]


@cache
def today(folder: str) -> tuple[Comparison, Conditions]:
    """The comparison of a folder as its rows are read today; images of any name, which the cells say."""
    rows, data = BY_FOLDER[folder]
    shared = {"runs": RESULTS / folder / "runs", "device": "cpu", "workers": 0, "accumulation": 1}
    files = read(committed("*seed*.json")[0] if folder == "fashion-mnist" else committed("pcae-simmim-seed0*")[-1])
    at = Conditions(data=data, files=files["settings"]["files"], channels=1, classes=10, **shared)
    return read_rows(ROOT / "benchmarks" / rows), at


def cells_of(folder: str, name: str, seed: int, **budget: Any) -> Cell:
    comparison, at = today(folder)
    row = next(row for row in comparison.rows if row.name == name)
    return cell_of(row, seed, at, RESULTS / folder / "cells", **budget)


def test_all_that_is_committed_is_looked_at():
    assert {folder_of(path) for path in committed("*.json")} == BY_FOLDER.keys()
    assert [len(committed(f"{kind}-*.json")) for kind in ("pace", "steps")] == [5, 3]
    assert len(committed("*seed*.json")) == 60


@pytest.mark.parametrize("path", committed("*seed*.json"), ids=lambda path: path.stem)
def test_a_cell_is_known_by_todays_settings(path):
    found, folder = read(path), folder_of(path)
    budget = {"steps": found["settings"]["pretrain"]["steps"]} if folder.endswith("sixty-seconds") else {}
    cell = cells_of(folder, found["row"], found["seed"], **budget)
    assert digest_of(cell.settings) == digest_of(found["settings"]) == digest_in(path)
    assert cell.path == path and cell.measured().keys() == found["measured"].keys()


def test_the_sample_has_the_name_that_its_cells_have(tmp_path):
    comparison, at = today("methods-on-sample")
    config = CompareConfig(data="sample", rows=Path("rows.yaml"), out=tmp_path, device="cpu")
    assert conditions_of(config, "sample", comparison).files == at.files


@pytest.mark.parametrize("path", committed("pace-*.json"), ids=lambda path: path.stem)
def test_speeds_are_known_by_all_that_was_asked(path):
    found, folder = read(path), folder_of(path)
    assert found.pop("values").keys() == found["rows"].keys()
    assert digest_of(found) == digest_in(path)
    world = World(0, 1, torch.device("cpu"))
    for name, key in found["rows"].items() if path.name != OLD else ():
        assert key_of(cells_of(folder, name, 0), today(folder)[1], world) == key, name


@pytest.mark.parametrize("path", committed("steps-*.json"), ids=lambda path: path.stem)
def test_the_steps_of_a_budget_are_known_by_seconds_and_row(path):
    found, folder = read(path), folder_of(path)
    assert digest_of({name: found[name] for name in ("seconds", "row")}) == digest_in(path)
    assert found["steps"] == round(found["seconds"] / found["seconds_per_step"])
    comparison, at = today(folder)
    keys = [key_of(cells_of(folder, row.name, 0), at, World(0, 1, torch.device("cpu"))) for row in comparison.rows]
    assert found["row"] in keys
