"""Every command in README and docs can be typed: its flags and files are there.

Here verbs, flags and values are read as the command line reads them, and files, targets and extras that are named are
looked up; tests/test_commands_run.py runs what is shown.
"""

import itertools
import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pcae import cli
from pcae.settings.values import leaves
from pcae.settings.verbs import config_of
from tests.documentation import PAGES, ROOT, Command, commands, fences, python_blocks, scripts

ALL = list({(one.words, one.shown, one.started): one for page in PAGES for one in commands(page)}.values())
VERBS = [one for one in ALL if one.words[0] == "pcae"]
OTHERS = [one for one in ALL if one.words[0] != "pcae"]
TYPED = [one for one in VERBS if one.shown and one.complete and len(one.words) > 1]
on_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
SHELL_WORDS = {"git", "cd", ".", "source", "python3"}
"""Programs of every machine, in the lines on how to install."""
PLACEHOLDERS = {"--seed": "0", "--drop-ratio": "0.2", "--method": "pcae", "--mask-ratio": "0.75", "--to": "onnx"}
"""What stands for a capital letter behind a flag."""


def verb_of(words: tuple[str, ...]) -> tuple[str, list[str]]:
    """The verb, of one word or two, and the words behind it."""
    length = 2 if words[1] in cli.FAMILIES and len(words) > 2 else 1
    return " ".join(words[1 : 1 + length]), list(words[1 + length :])


def filled(words: list[str]) -> list[str]:
    """The words with values in place of capital letters."""
    pairs = zip(["", *words], words, strict=False)
    return [PLACEHOLDERS.get(flag, word) if re.fullmatch(r"[A-Z:]+", word) else word for flag, word in pairs]


def test_there_are_commands_on_many_pages():
    assert len(VERBS) > 60 and len(OTHERS) > 15 and len({one.place.split(":")[0] for one in ALL}) > 12


def of(page: Path, these: list[Command]) -> list[Command]:
    """Those of the commands that stand on a page."""
    return [one for one in these if one.place.startswith(f"{page.name}:")]


def flags_of(verb: str) -> set[str]:
    """The flags that a verb has."""
    names = {name.replace("_", "-") for name in leaves(config_of(verb))}
    return {f"--{name}" for name in names} | {f"--no-{name}" for name in names} | {"--help", "--help-all"}


def flags_in(words: Iterable[str]) -> set[str]:
    """The flags among some words."""
    return {word.split("=")[0].replace("_", "-") for word in words if word.startswith("--")}


@on_each_page
def test_verbs_and_flags_are_there(page):
    for one in of(page, VERBS):
        verb, words = verb_of(one.words)
        if verb not in {*cli.FAMILIES, "completion"} and not verb.startswith("-"):
            assert verb in cli.VERBS, one
            assert flags_in(words) <= flags_of(verb), one


@on_each_page
def test_what_is_shown_is_read_by_the_command_line(page, monkeypatch, tmp_path):
    (tmp_path / "mine.yaml").write_text("base-lr: 1.0e-3\n")
    monkeypatch.chdir(tmp_path)
    for one in of(page, TYPED):
        seen = []
        recipe = {"pretrain": "vit-ti-64", "finetune": "finetune-small"}.get(one.words[1], "detect-small")
        module = SimpleNamespace(run=seen.append, choose_recipe=lambda _, recipe=recipe: recipe)
        monkeypatch.setattr(cli, "module_of", lambda _, module=module: module)
        cli.main(filled(list(one.words[1:])))
        assert len(seen) == (not {"completion", "--help", "--version"} & set(one.words)), one


@on_each_page
def test_files_that_are_named_are_there(page):
    paths = [
        word for one in of(page, ALL) for word in one.words if re.match(r"(benchmarks|docs|tests|findings)/.", word)
    ]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@on_each_page
def test_programs_beside_pcae_are_there(page):
    for one in of(page, OTHERS):
        head, *words = one.words
        if head == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), one
        elif head == "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            asked = re.findall(r"\.\[(.*)\]", " ".join(words))
            assert set(itertools.chain(*(names.split(",") for names in asked))) <= extras.keys(), one
        elif head == "python":
            assert flags_in(itertools.takewhile(lambda word: word not in {"HEAD", "pcae"}, words)) <= script_flags(
                words[0]
            ), one
        else:
            assert head in SHELL_WORDS | {"pytest", "torchrun", "srun"}, one


def script_flags(path: str) -> set[str]:
    """The flags of a script: those that it names, and those of the verbs whose settings it takes."""
    text = (ROOT / path).read_text()
    verbs = re.findall(r"from pcae\.settings\.verbs\.(\w+) import", text)
    return {"--help", *re.findall(r'"(--[\w-]+)"', text)}.union(*(flags_of(verb) for verb in verbs))


@on_each_page
def test_scripts_python_and_yaml_parse(page):
    for script in scripts(page):
        assert subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True).stderr == ""
    for title, block in python_blocks(page):
        compile(block, title, "exec")
    assert all(list(yaml.safe_load_all(block)) for _, kind, block in fences(page.read_text()) if kind == "yaml")
