"""benchmarks/two_builds.py: a revision and the working tree take turns, and the ratio is the working tree's."""

import subprocess
import sys

import pytest
from benchmarks import two_builds

HERE = ["--environment", sys.prefix, "--rounds", "3"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose committed module says 2, and its working tree 3; every import leaves a letter."""
    root = tmp_path / "repository"
    (root / "src").mkdir(parents=True)
    module = root / "src" / "thing.py"
    log = f"open({str(tmp_path / 'log')!r}, 'a').write"
    module.write_text(f"{log}('o')\nvalue = 2\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "m"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    module.write_text(f"{log}('n')\nvalue = 3\n")
    monkeypatch.setattr(two_builds, "ROOT", root)
    return root


def test_the_ratio_is_that_of_the_last_numbers_and_the_order_changes(repository, capsys):
    command = ["python", "-c", "import thing; print('of 100:', float(thing.value))"]
    assert two_builds.main([*HERE, "HEAD", *command]) == 1.5
    said = capsys.readouterr().out
    assert "working tree / HEAD" in said and said.count("  1.500") == 3
    assert (repository.parent / "log").read_text() == "noonnoon"


def test_every_call_has_a_new_place_for_what_it_writes(repository):
    command = ["python", "-c", "import sys, pathlib; pathlib.Path(sys.argv[1]).mkdir(); print(1)", "{out}"]
    assert two_builds.main([*HERE, "HEAD", *command]) == 1


def test_time_is_a_figure_and_another_exit_status_can_be_expected(repository):
    slow = "import thing, sys; sum(range(5_000_000 * (thing.value - 2))); sys.exit(2)"
    assert two_builds.main([*HERE, "--figure", "user", "--status", "2", "HEAD", "python", "-c", slow]) > 1
    assert two_builds.main([*HERE, "--figure", "seconds", "--status", "2", "HEAD", "python", "-c", slow]) > 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "python", "-c", "print(1)"], "nowhere is no revision"),
        (["HEAD", "python", "-c", "print('none')"], "prints no number"),
        (["HEAD", "python", "-c", "raise ValueError('why')"], "exit status 1(.|\n)*why"),
    ],
)
def test_what_cannot_be_measured_is_said(repository, words, message):
    with pytest.raises(SystemExit, match=message):
        two_builds.main([*HERE, *words])


def test_the_number_may_be_written_in_any_way():
    words = "3 seconds, v1.2.3: -1.5e-3, x86"
    assert [float(one) for one in two_builds.NUMBER.findall(words)][-1] == -1.5e-3
