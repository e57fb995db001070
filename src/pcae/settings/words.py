"""The words of a command line -> settings: flags > --config > --recipe > defaults, in any order of the words."""

import argparse
import contextlib
import difflib
import io
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from pcae.settings.bounds import check_bounds
from pcae.settings.recipes import layered
from pcae.settings.sources import as_data, each
from pcae.settings.training import RunSettings
from pcae.settings.values import at_home, build, flags, kind, leaves

LAST = Path("\0")
"""Stands for a word without a flag behind DATA."""
TRUE_OR_NOT = {bool, type(None)}
"""The types of what is true, false or not said."""
CHOOSING = ("recipe", "config", "method", "init", "teacher")
"""Flags that say what stands under the others: the recipe, the file, and what makes some of a recipe's values void."""


def parse(cls: type, words: list[str], prog: str, picked: str | None = None) -> Any:
    """The settings that the words of a verb say. Raises ValueError for words that say none.

    picked: the recipe that `--recipe auto` stands for.
    """
    default, said, places = usual_settings(cls, words, picked), io.StringIO(), positional_metavars(cls)
    if "out" in places:  # the parser would take a flag behind it for the word that DATA has to leave
        default = replace(default, out=LAST)
    try:
        with contextlib.redirect_stderr(said):
            config = tyro.cli(
                cls, prog=prog, args=with_capitals(cls, words), default=default, config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit:
        raise ValueError(one_line(said.getvalue(), cls, words)) from None
    config = at_home(with_last_as_out(config, places))
    check_bounds(config)
    return config


def with_capitals(cls: type, words: list[str]) -> list[str]:
    """The words, with True and False, as the parser spells them, for what is true, false or not said."""
    unsaid = {f"--{name.replace('_', '-')}" for name, kind in leaves(cls).items() if set(get_args(kind)) == TRUE_OR_NOT}

    def spelled(before: str, word: str) -> str:
        flag, _, value = word.partition("=")
        if before in unsaid and word in ("true", "false"):
            return word.title()
        return f"{flag}={value.title()}" if flag in unsaid and value in ("true", "false") else word

    return list(map(spelled, ["", *words], words))


def with_last_as_out(config: Any, places: dict[str, str]) -> Any:
    """The settings, with the last word of DATA for OUT where that has no flag; places: what has none, and its name.

    Raises ValueError where a word is missing.
    """
    if "data" not in places or config.data is None:
        return config
    words, missing = list(each(config.data)), [places["data"]]
    if getattr(config, "out", None) == LAST and len(words) > 1:
        config = replace(config, out=Path(words.pop()), data=as_data(words))
    elif getattr(config, "out", None) == LAST:
        missing, words = [*missing[: 1 - len(words)], places["out"]], []
    if not words:
        raise ValueError(f"missing: {', '.join(missing)}; see --help")
    return config


def usual_settings(cls: type, words: list[str], picked: str | None = None) -> Any:
    """What stands where no flag says otherwise; tyro.MISSING where a flag must. Raises ValueError for a flag that is
    not there."""
    check_flags(cls, words)
    values = layered(cls, given_flags(words), picked) if issubclass(cls, RunSettings) else {}
    return build(cls, values, missing=tyro.MISSING)


def check_flags(cls: type, words: list[str]) -> None:
    """Raise ValueError for a flag that is not there, with the one that may have been meant."""
    names = [name.replace("_", "-") for name in flags(cls)]
    known = {f"--{name}" for name in names} | {f"--no-{name}" for name in names} | {"--help", "--help-all"}
    for word in words:
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        if not word or (word.startswith("--") and equals and not value):
            raise ValueError(f"an empty value was given{f' for {flag}' if flag else ''}; leave the flag out instead")
        if word.startswith("--") and flag not in known:
            near = difflib.get_close_matches(flag, known, n=1)
            raise ValueError(f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else "; see --help"))


def given_flags(words: list[str]) -> dict[str, str | None]:
    """The flags among the words; the values of those alone that say what stands under the others."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in CHOOSING:
        scan.add_argument(f"--{name}", nargs="?")
    named = vars(scan.parse_known_args(words)[0])
    names = [word.removeprefix("--").split("=")[0] for word in words if word.startswith("--")]
    return dict.fromkeys(names) | {name: value for name, value in named.items() if value}


def positional_metavars(cls: type) -> dict[str, str]:
    """What the settings that have no flag, but a place among the words, are called."""
    hints = get_type_hints(cls, include_extras=True)
    return {
        name: hint.__metadata__[1].metavar
        for name, hint in hints.items()
        if get_origin(hint) is Annotated and hint.__metadata__[0] is tyro.conf.Positional
    }


def one_line(text: str, cls: type, words: list[str]) -> str:
    """A boxed message of the parser as one line; for a flag, what it takes and what it got."""
    lines = [line.strip("│╭╰╮╯─ ") for line in text.splitlines()]
    line = " ".join(line for line in lines[1:] if line and "helptext" not in line and set(line) - set("─━- "))
    if line.startswith("Missing from"):
        return f"missing: {', '.join(re.findall(r'DATA|IMAGES|RUN|OUT|--[a-z-]+ [A-Z]+', line))}; see --help"
    if line.startswith("Unrecognized options"):
        return f"unexpected: {line.partition(': ')[2]}; see --help"
    flag = re.search(r"(?:Error parsing |argument ')--([a-z0-9-]+)", line)
    types = leaves(cls)
    name = flag[1].replace("-", "_") if flag else ""
    if not flag or name not in types:
        return line
    return f"--{flag[1]} takes {kind(types[name])}, got {values_of(flag[1], words)}"


def values_of(flag: str, words: list[str]) -> str:
    """What stands behind a flag, as it was written."""
    dashed = [word.split("=")[0].replace("_", "-") for word in words]
    if f"--{flag}" not in dashed:
        return "nothing"
    place = dashed.index(f"--{flag}")
    _, equals, value = words[place].partition("=")
    behind = itertools.takewhile(lambda word: not word.startswith("--"), words[place + 1 :])
    return " ".join(map(repr, [value] if equals else behind)) or "nothing"
