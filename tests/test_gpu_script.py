"""The script that measures what is claimed of a GPU runs from end to end, here on a CPU and on next to nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_one_call_measures_everything_and_holds_it_against_the_claims(tmp_path):
    words = [str(tmp_path / "out"), "--device", "cpu", "--quick", "--rounds", "1"]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    claims = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert len(claims) == 9 and all(claim["holds"] == (claim["measured"] >= claim["at_least"]) for claim in claims)
    assert all(claim["measured"] > 0 for claim in claims)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    model = "training-vit_base_patch16_224"
    assert {f"{model}.json", f"{model}.md", f"{model}.png", "inference.json", "training-from-packed.json"} <= names
    assert "aten::" in (tmp_path / "out" / "profile.txt").read_text()
    assert "gains" in json.loads((tmp_path / "out" / "step-parts.json").read_text())
