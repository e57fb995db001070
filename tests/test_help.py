"""What `pcae VERB --help` and --help-all say."""

import contextlib
import dataclasses
import re
import shlex

import pytest

from pcae.cli import main
from pcae.settings.help import explanations, positional_metavars
from pcae.settings.values import flags, leaves
from pcae.settings.verbs import VERBS, config_of
from pcae.settings.words import parse


def help_of(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) if "--help-all" in words else contextlib.nullcontext():
        main(list(words))
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_a_page_begins_with_two_examples_and_both_are_understood(capsys, verb):
    lines = help_of(capsys, *verb.split(), "--help").splitlines()
    assert lines[0] == "examples:" and lines[3] == "" and lines[1] != lines[2]
    for line in lines[1:3]:
        words = shlex.split(line)
        assert " ".join(words).startswith(f"pcae {verb}")
        assert dataclasses.is_dataclass(parse(config_of(verb), words[1 + len(verb.split()) :], f"pcae {verb}"))


@pytest.mark.parametrize("verb", VERBS)
def test_a_page_shows_the_usual_settings_and_says_how_to_see_all(capsys, verb):
    page, cls = help_of(capsys, *verb.split(), "-h"), config_of(verb)
    known = list(leaves(cls))
    usual = cls.USUAL.split() if hasattr(cls, "USUAL") else known
    assert set(usual) <= set(known) and len(set(usual)) == len(usual) <= 14
    shown = [line.split()[0] for line in page.splitlines() if re.match(r"  (--|[A-Z]+\b)", line)]
    assert len(shown) == len(usual)
    assert {flag for flag in shown if flag.startswith("--")} <= {f"--{name.replace('_', '-')}" for name in usual}
    assert (f"pcae {verb} --help-all" in page) is (len(usual) < len(known))


@pytest.mark.parametrize("verb", VERBS)
def test_all_settings_are_explained(capsys, verb):
    page, cls = help_of(capsys, *verb.split(), "--help-all"), config_of(verb)
    assert explanations(cls).keys() == leaves(cls).keys() and "--json" in page
    for name in flags(cls):
        assert positional_metavars(cls).get(name, f"--{name.replace('_', '-')}") in page


def test_a_page_shows_the_defaults_and_those_of_a_recipe(capsys):
    assert "(default: 224 224)" in " ".join(help_of(capsys, "pretrain", "--help").split())
    assert "(default: 28 28)" in " ".join(help_of(capsys, "pretrain", "--help", "--recipe", "sample").split())


def test_a_family_and_the_whole_are_told_in_short(capsys):
    assert "pcae detect VERB" in help_of(capsys, "detect") and "predict" in help_of(capsys, "detect", "--help")
    assert "pcae completion" in help_of(capsys, "--help") and "recipes" in help_of(capsys)
