"""How verbs speak: a result is printed once, as JSON or in words."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from pcae.terminal import answer


@dataclass(frozen=True)
class Found:
    out: Path
    images: int


@pytest.mark.parametrize("found", [Found(Path("a.npy"), 3), {"out": "a.npy", "images": 3}])
def test_a_result_is_json_or_words(capsys, found):
    answer(found, True, lambda _: pytest.fail("words were not asked for"))
    assert json.loads(capsys.readouterr().out) == {"out": "a.npy", "images": 3}
    said = []
    answer(found, False, said.append)
    assert said == [found] and not capsys.readouterr().out


@pytest.mark.parametrize("in_json", [True, False])
def test_other_processes_than_the_first_print_nothing(capsys, monkeypatch, in_json):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer({"images": 3}, in_json, print)
    assert not capsys.readouterr().out


def test_a_rank_without_others_silences_nothing(monkeypatch, capsys):
    """A batch script may number its own tasks so."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    answer({"images": 3}, True, print)
    assert capsys.readouterr().out
