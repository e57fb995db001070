"""Figures that processes put together are those of one, and verbs that share nothing say so."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcae.settings.verbs import VERBS
from tests.processes import ended, together

SHARING = (
    "pretrain",
    "finetune",
    "detect train",
    "detect evaluate",
    "compare",
    "embed",
    "predict",
    "evaluate",
    "check-data",
    "pack",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Pictures of three classes, one that is no picture, one twice, a blank one."""
    root, noise = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    for name in "abc":
        (root / name).mkdir()
        for number in range(25):
            Image.fromarray(noise.integers(256, size=(40, 50, 3), dtype=np.uint8)).save(
                root / name / f"{number:02d}.png"
            )
    (root / "a" / "07.png").write_bytes(b"nothing")
    (root / "b" / "09.png").write_bytes((root / "a" / "00.png").read_bytes())
    Image.new("RGB", (40, 50)).save(root / "c" / "03.png")
    return root


def said(words: list[str], processes: int) -> dict:
    """What the first process prints as JSON."""
    started = together(["pcae", *words, "--json", "--device", "cpu"], processes)
    outputs = [one.communicate() for one in started]
    assert all(one.returncode == 0 for one in started), outputs
    assert not any(out for out, _ in outputs[1:])
    return json.loads(outputs[0][0])


def test_processes_evaluate_as_one(data, weights, tmp_path):
    words = [
        "evaluate",
        str(data),
        "--weights",
        str(weights),
        "--drop-ratio",
        "0",
        "0.3",
        "--rounds",
        "0",
        "--batch-size",
        "8",
    ]
    found = [said([*words, "--mistakes", str(tmp_path / f"{number}.html")], number) for number in (1, 2, 3)]
    for one in found:
        one.pop("threads")
    assert found[0] == found[1] == found[2]
    pages = [(tmp_path / f"{number}.html").read_text() for number in (1, 2, 3)]
    assert pages[0] == pages[1] == pages[2]
    assert found[0]["rows"][0]["images"] == 74
    parts = [*words, "--parts", str(tmp_path / "parts"), "--mistakes", str(tmp_path / "4.html")]
    for number in (2, 1):  # the second start finds what the first one made
        again = said(parts, number)
        again.pop("threads")
        assert again == found[0] and (tmp_path / "4.html").read_text() == pages[0]
        (tmp_path / "parts" / "drop-0.3" / "part-00000.parquet").unlink()


def test_processes_check_data_as_one(data, tmp_path):
    words = ["check-data", str(data), "--workers", "0"]
    found = [said([*words, "--out", str(tmp_path / f"{number}.html")], number) for number in (1, 2)]
    assert found[0] == found[1]
    assert {"unreadable", "exact_duplicates", "blank"} <= found[0]["faults"].keys()
    pages = [(tmp_path / f"{number}.html").read_text() for number in (1, 2)]
    assert pages[0] == pages[1]
    parts = [*words, "--parts", str(tmp_path / "parts"), "--out", str(tmp_path / "4.html")]
    for number in (2, 1):
        assert said(parts, number) == found[0] and (tmp_path / "4.html").read_text() == pages[0]
        (tmp_path / "parts" / "train" / "part-00000.parquet").unlink()


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in SHARING])
def test_verbs_that_share_nothing_say_so_in_one_line(verb, monkeypatch, capsys):
    """With the words of the verb's first example, which are parsed before; nothing of it is run."""
    from pcae.cli import main
    from pcae.settings.verbs import config_of

    monkeypatch.setenv("WORLD_SIZE", "2")
    example = getattr(config_of(verb), "EXAMPLES", ("",))[0].split()
    with pytest.raises(SystemExit) as stop:
        main([*verb.split(), *example])
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(lines) == 1
    assert "runs in one process, got 2; start it without torchrun" in lines[0]


def test_a_fault_in_one_process_ends_all_in_one_line_each(data, tmp_path):
    """A folder that is not there, and weights that are none."""
    for words in (["evaluate", str(data), "--weights", str(tmp_path)], ["check-data", str(tmp_path / "none")]):
        done = ended(*together(["pcae", *words, "--device", "cpu"], 2))
        assert all(status == 2 and len(text.strip().splitlines()) <= 2 for status, text in done), done
