"""The script that measures what is claimed of a GPU runs from end to end, here on a CPU and on next to nothing."""

import contextlib
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from pcae.cli import main

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run_here(words: list[str], **_) -> subprocess.CompletedProcess[str]:
    """What subprocess.run would do with Python's words, in this process, which has imported all of it."""
    said, before = io.StringIO(), sys.argv
    sys.argv = words[1:]
    try:
        with contextlib.redirect_stdout(said):
            if words[1:3] == ["-m", "pcae"]:
                main(words[3:])
            else:
                runpy.run_path(words[1], run_name="__main__")
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(words, 0, said.getvalue())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_one_call_measures_everything_and_holds_it_against_the_claims(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", run_here)
    run_here([sys.executable, str(SCRIPT), str(tmp_path / "out"), "--device", "cpu", "--quick", "--rounds", "1"])
    claims = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert len(claims) == 9 and all(claim["holds"] == (claim["measured"] >= claim["at_least"]) for claim in claims)
    assert all(claim["measured"] > 0 for claim in claims)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    model = "training-vit_base_patch16_224"
    assert {f"{model}.json", f"{model}.md", f"{model}.png", "inference.json", "training-from-packed.json"} <= names
    assert "aten::" in (tmp_path / "out" / "profile.txt").read_text()
    assert "gains" in json.loads((tmp_path / "out" / "step-parts.json").read_text())
