"""What README and docs show runs: the same commands on a few made-up images, for one step, in this process.

Read and not run are commands for several processes or GPUs (torchrun, srun) and for the network (hf:, git, pip),
scripts of benchmarks/ that have no small size, and `make` (tests/test_commands_in_docs.py). The demo and the paper's
tables are run by tests of their own.
"""

import contextlib
import re
import runpy
import sys

import pytest

from pcae import cli
from tests import few_steps
from tests.documentation import PAGES, ROOT, Command, python_blocks
from tests.test_commands_in_docs import TYPED, filled, verb_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images, lists, shards and finished runs as the pages name them."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(place):
        patch.setattr("pcae.pages.run_page.write_report", lambda run: run / "report.html")
        few_steps.furnish(place)
    return place


def once(typed: list[Command]) -> list[Command]:
    """Commands that differ in what they do, of those that run here: the same verb and flags on other images are one."""
    kinds = {(verb_of(one.words)[0], *sorted(few_steps.kind_of(one.words))): one for one in reversed(typed)}
    return [one for one in reversed(kinds.values()) if not one.started and not few_steps.left_out(one.words)]


@pytest.mark.parametrize("one", once(TYPED), ids=str)
def test_what_is_shown_runs(one, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    verb, words = verb_of(one.words)
    cli.main([*verb.split(), *few_steps.few(filled(words), verb, place)])
    assert any(capsys.readouterr())


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_blocks_of_python_run(page, place, monkeypatch):
    monkeypatch.chdir(place)
    few_steps.patch(monkeypatch, place)
    names = {}
    for title, block in python_blocks(page):
        exec(compile(few_steps.named(block), title, "exec"), names)


@pytest.mark.parametrize("script", sorted(few_steps.SCRIPTS))
def test_scripts_of_benchmarks_run(script, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", [script, *few_steps.SCRIPTS[script]])
    runpy.run_path(str(ROOT / "benchmarks" / script), run_name="__main__")
    assert any(capsys.readouterr())


def test_the_one_page_prints_a_falling_loss(monkeypatch, capsys):
    page = ROOT / "docs" / "pcae_on_one_page.py"
    short = page.read_text().replace("steps=400", "steps=100").replace("steps=200", "steps=1")
    assert short != page.read_text()
    exec(compile(short, str(page), "exec"), {"__name__": "__main__", "__file__": str(page)})
    losses = [float(loss) for loss in re.findall(r"step +\d+: loss ([\d.]+)", capsys.readouterr().out)]
    assert losses[1] < 0.5 * losses[0]
