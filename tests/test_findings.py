"""Findings have the form that their README asks for; what they find is not run here, since it needs the network."""

import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "findings"
README = (FOLDER / "README.md").read_text()
SCRIPTS = sorted(FOLDER.glob("*.sh"))
BEGINNING = README.partition("```sh\n")[2].partition("```")[0]
"""What the README gives to begin with."""


def lacks(script: str) -> list[str]:
    """What a script does not have of the form."""
    asked = {
        "set -euo pipefail": r"^set -euo pipefail$",
        "a temporary folder": r"^folder=\$\(mktemp -d\)$",
        "that is gone at the end": r"^trap 'rm -rf \"\$folder\"' EXIT$",
        "a pinned package": r"install .*'[\w.-]+==\S+'",
        "an end that fails once it has changed": r"sys\.exit\(|exit 1",
        "what was expected": r"^# Expected: \w",
        "what was seen": r"^# Seen: \w",
    }
    missing = [what for what, pattern in asked.items() if not re.search(pattern, script, re.MULTILINE)]
    used = [line for line in script.splitlines() if "install" in line and re.search(r"install (?!.*==)", line)]
    ours = ["nothing of pcae"] if "pcae" in script.lower() else []
    return missing + ours + [f"a version: {line}" for line in used] + (["60 lines"] if script.count("\n") > 60 else [])


def test_every_finding_parses_and_has_the_form():
    for path in SCRIPTS:
        assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
        assert lacks(path.read_text()) == []
        assert f"[{path.name}]({path.name})" in README


def test_the_readme_lists_no_finding_that_is_not_there():
    assert {path.name for path in SCRIPTS} == set(re.findall(r"\]\((\S+\.sh)\)", README))
    assert {path.name for path in FOLDER.iterdir()} == {"README.md", *(path.name for path in SCRIPTS)}


def test_the_readmes_beginning_has_the_form(tmp_path):
    assert lacks(BEGINNING) == []
    (tmp_path / "beginning.sh").write_text(BEGINNING)
    assert subprocess.run(["bash", "-n", tmp_path / "beginning.sh"], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("==VERSION", "", "a pinned package"),
        ("# Expected", "# We thought", "what was expected"),
        ("import sys", "import pcae", "nothing of pcae"),
        ("mktemp -d", "pwd", "a temporary folder"),
    ],
)
def test_what_has_not_the_form_is_found(old, new, missing):
    assert old in BEGINNING and missing in lacks(BEGINNING.replace(old, new))
