"""What `pcae VERB --help` says: two examples, what the verb does, its usual settings; --help-all has every one."""

import argparse
import ast
import dataclasses
import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tyro

from pcae.settings.sources import Data
from pcae.settings.values import flags, flatten, leaves
from pcae.settings.words import positional_metavars, usual_settings

HELP_FLAGS = {"-h", "--help", "--help-all"}
"""Flags that ask for help."""


def show_help(cls: Any, prog: str, words: list[str]) -> None:
    """Print the page of a verb; the words may name a recipe or a file, whose values then stand as the defaults."""
    default = usual_settings(cls, [word for word in words if word not in HELP_FLAGS])
    if "--help-all" in words:  # the parser's own page, after which it exits
        tyro.cli(cls, prog=prog, args=["--help"], default=default, config=(tyro.conf.OmitArgPrefixes,))
    print(page(cls, prog, flatten(default)), end="")


def page(cls: Any, prog: str, defaults: dict[str, Any]) -> str:
    """The examples and the usual settings of a verb, with their defaults."""
    examples = "\n".join(f"  {prog} {words}".rstrip() for words in cls.EXAMPLES)
    kinds, said = leaves(cls), explanations(cls)
    usual = cls.USUAL.split() if hasattr(cls, "USUAL") else list(kinds)
    parser = argparse.ArgumentParser(
        usage=argparse.SUPPRESS,
        description=f"examples:\n{examples}\n\n{inspect.getdoc(cls)}",
        epilog=f"all {len(flags(cls))} settings, in groups: {prog} --help-all" if len(usual) < len(kinds) else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    group = parser.add_argument_group("usual settings" if parser.epilog else "settings")
    metavars = positional_metavars(cls)
    for name in usual:
        text = (said[name] + default_in_words(defaults[name])).replace("%", "%%")
        if name in metavars:
            group.add_argument(name, metavar=metavars[name], help=text)
        else:
            group.add_argument(*flags_of(name, kinds[name], defaults[name]), metavar=metavar(kinds[name]), help=text)
    return parser.format_help()


def explanations(cls: type) -> dict[str, str]:
    """The sentence that stands below each setting of a configuration, by leaf name."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= sentences(base) if dataclasses.is_dataclass(base) else {}
    for inner in get_type_hints(cls).values():
        found |= explanations(inner) if dataclasses.is_dataclass(inner) and isinstance(inner, type) else {}
    return found


def sentences(cls: type) -> dict[str, str]:
    """The sentence that stands below each field that a class itself has."""
    (written,) = ast.parse(inspect.getsource(cls)).body
    found = {}
    for line, below in pairwise(getattr(written, "body", [])):
        match line, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def flags_of(name: str, annotation: Any, default: Any) -> list[str]:
    """The flag of a setting; of what is on by default, also the one that turns it off."""
    flag = name.replace("_", "-")
    return [f"--{flag}", f"--no-{flag}"] if annotation is bool and default else [f"--{flag}"]


def metavar(annotation: Any) -> str:
    """What stands for the value of a flag: INT INT, {fpn,simple}, nothing for a switch."""
    inner = [kind for kind in get_args(annotation) if kind is not type(None)]
    if set(inner) == set(get_args(Data)):
        return "STR"  # of which a flag takes one
    if get_origin(annotation) is Literal:
        return "{" + ",".join(inner) + "}"
    if get_origin(annotation) is tuple:
        return " ".join("..." if kind is Ellipsis else metavar(kind) for kind in inner)
    if inner:
        return "|".join(map(metavar, inner))
    return {bool: "", int: "INT", float: "FLOAT", Path: "PATH"}.get(annotation, "STR")


def default_in_words(value: Any) -> str:
    """What a setting is when nobody says otherwise, where its sentence does not say that."""
    if value is tyro.MISSING:
        return " (required)"
    if value is None or value is False:
        return ""
    return f" (default: {' '.join(map(str, value)) if isinstance(value, tuple) else value})"
