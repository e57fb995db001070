"""The rules of the house that a machine can check."""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median, quantiles

import pytest
from docs.draw_architecture import edges, modules

from pcae.cli import VERBS

SOURCE = Path(__file__).parents[1] / "src" / "pcae"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]
COMMANDS = SOURCE / "commands"


def functions() -> dict[str, int]:
    """Lines of every function, from its `def` to its end, docstring and all."""
    return {
        f"{name}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for name, path in zip(NAMES, FILES, strict=True)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }


def test_files_are_short():
    lines = {name: len(path.read_text().splitlines()) for name, path in zip(NAMES, FILES, strict=True)}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_every_module_says_what_it_is():
    said = {name: ast.get_docstring(ast.parse(path.read_text())) for name, path in zip(NAMES, FILES, strict=True)}
    assert {name: words for name, words in said.items() if len(words or "") < 10 or "TODO" in (words or "")} == {}


def test_functions_are_no_longer_than_they_were():
    """By the measure of commit 045e364: median 7, nine in ten 18, longest 43."""
    lines = functions()
    assert median(lines.values()) <= 7
    assert quantiles(lines.values(), n=10)[-1] <= 18
    assert {name: count for name, count in lines.items() if count > 43} == {}


def test_commands_has_one_file_a_verb_and_nothing_else():
    files = {str(path.relative_to(COMMANDS).with_suffix("")) for path in COMMANDS.rglob("*.py")}
    verbs = {verb.replace(" ", "/").replace("-", "_") for verb in VERBS}
    assert files == verbs | {"__init__", "detect/__init__"}
    assert {path.suffix for path in COMMANDS.rglob("*") if path.is_file()} <= {".py", ".pyc"}


def test_verbs_are_short_and_import_no_verb():
    verbs = [name for name in modules() if name.startswith("commands.")]
    assert {name: lines for name in verbs if (lines := len(modules()[name].read_text().splitlines())) > 150} == {}
    among = {(one, other) for one in verbs for other in edges()[one] if other.startswith("commands.")}
    assert among == set()


def test_no_import_goes_in_a_circle():
    """Those inside functions count."""
    try:
        TopologicalSorter(edges()).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_rooms_have_room():
    counts = Counter(path.parent for path in FILES if path.parent != COMMANDS)
    assert {folder.name: count for folder, count in counts.items() if count > 22} == {}


def test_there_is_no_lumber_room():
    assert not {path.stem for path in FILES} & {"utils", "util", "common", "misc", "helpers"}
    assert not {path.parent.name for path in FILES} & {"utils", "util", "common", "misc", "helpers"}
