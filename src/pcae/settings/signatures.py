"""The settings of a verb as the arguments of a function: their names, types and defaults, and what `help` says."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pcae.settings.arguments import NOT_HERE, required, role, tuple_of
from pcae.settings.help import explanations
from pcae.settings.values import build, flatten, leaves

WIDTH = 112
"""Columns of a line in a docstring."""
PLACES = {"data", "images", "validation", "validation_images", "unlabelled", "weights", "resume"}
"""Settings that are text because more than paths go there, and paths as well."""
NAMES = {"data": "Data", "weights": "Weights"}
"""What stubs call what such settings take."""
OBJECTS = {"transform": "Callable[[Any], Any]"}
"""What stubs say of settings that are objects of the caller's, where a verb has them; the command line has not."""
QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")
FLAG = re.compile(r"(?<!\w)--(no-)?([a-z][a-z0-9-]*)(?: (\d[\d.:]*\d|\d|[A-Z]+\b|[a-z][\w-]*))?")
"""A flag, and what may be its value: a number, what stands for a value, a word."""
SIMPLE: dict[Any, str] = {
    int: "int", float: "float", str: "str", bool: "bool", Path: "str | PathLike[str]", type(None): "None",
}  # fmt: skip


class Words(str):
    """A type in words: `help` shows it as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature_of(
    cls: Any, verb: str, first: Sequence[str], more: Mapping[str, str], optional: Iterable[str], returns: str
) -> Signature:
    """What a verb takes from Python. first: arguments that need no name. more: those that are no settings, and their
    types; None without them. optional: settings that only the command line needs."""
    needed, kinds = set(required(cls)) - set(optional), leaves(cls)
    defaults = flatten(build(cls, {}))
    names = [name for name in in_order(cls, first, needed) if name not in NOT_HERE]
    parameters = [
        Parameter(
            name,
            Parameter.POSITIONAL_OR_KEYWORD if name in first else Parameter.KEYWORD_ONLY,
            default=Parameter.empty if name in needed else defaults[name],
            annotation=type_of(kinds, verb, name, defaults[name] is None and name not in needed),
        )
        for name in names
    ]
    parameters += [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Words(f"{kind} | None"))
        for name, kind in more.items()
    ]
    return Signature(parameters, return_annotation=Words(returns))


def in_order(cls: Any, first: Sequence[str], needed: set[str]) -> list[str]:
    """The settings of a verb: the first ones, those that are needed, the usual ones, and all others."""
    every = list(leaves(cls))
    usual = cls.USUAL.split() if "USUAL" in vars(cls) else []
    return list(dict.fromkeys([*first, *(name for name in every if name in needed), *usual, *every]))


def type_of(kinds: Mapping[str, Any], verb: str, name: str, without: bool) -> Words:
    """The type of a setting in words. without: whether it may be left out, which None stands for."""
    told = NAMES.get(role(kinds, verb, name)) or OBJECTS.get(name)
    told = f"{told} | Sequence[{told}]" if told == "Weights" and tuple_of(kinds[name]) else told
    text = told or in_words(Path | kinds[name] if name in PLACES else kinds[name])
    return Words(f"{text} | None" if without and not text.endswith("None") else text)


def in_words(kind: Any) -> str:
    """A type as Python writes it; of several values, what a caller may give for them."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(map(repr, inner)).replace(chr(39), chr(34))}]"
    if get_origin(kind) is tuple:
        return several(inner)
    pair = ["tuple[float, float]"] if set(inner) == {float, str} else []  # a range A:B
    return " | ".join(dict.fromkeys(word for one in [*map(in_words, inner), *pair] for word in one.split(" | ")))


def several(inner: tuple[Any, ...]) -> str:
    """A type of several values: any number of them, where one stands for itself, or so many."""
    if Ellipsis in inner:
        one = in_words(inner[0])
        return f"{one} | Sequence[{one}]"
    pair = f"tuple[{', '.join(map(in_words, inner))}]"
    return f"int | {pair}" if inner == (int, int) else pair  # a side of a square


def doc_of(cls: Any, names: Iterable[str], more: Mapping[str, str], returns: str) -> str:
    """What `help` says of a verb: what it does, a paragraph for each argument, and what comes of it."""
    said = explanations(cls) | dict(more)
    kinds = leaves(cls)
    lines = [in_python(inspect.getdoc(cls) or "", kinds), ""]
    lines += [
        textwrap.fill(
            f"{name}: {in_python(said[name], kinds)}", WIDTH, subsequent_indent="    ", break_on_hyphens=False
        )
        for name in names
    ]
    return "\n".join([*lines, "", textwrap.fill(f"{returns} Raises ValueError for what cannot be.", WIDTH)])


def in_python(message: str, kinds: Mapping[str, Any]) -> str:
    """A message with arguments in the place of flags: `use --val-fraction 0.2` becomes `use val_fraction=0.2`.

    kinds: the type of each argument, by its name.
    """
    words = QUOTED.split(message)  # what the caller gave stands in quotes, and stays
    words[::2] = [FLAG.sub(partial(as_argument, kinds), text) for text in words[::2]]
    return "".join(words)


def as_argument(kinds: Mapping[str, Any], found: re.Match[str]) -> str:
    """A flag that was found, as an argument."""
    return argument(found[2].replace("-", "_"), found[3], kinds, not found[1])


def argument(name: str, value: str | None, kinds: Mapping[str, Any], positive: bool) -> str:
    """A flag and what stands behind it, as an argument; a word that is no value of it stays a word."""
    kind = kinds.get(name)
    if kind is bool:
        return " ".join(filter(None, [f"{name}={positive}", value]))
    if value is None:
        return name
    if value in choices(kind) or ":" in value:
        return f"{name}={value!r}"
    return f"{name}={value}" if value.isupper() or value[0].isdigit() else f"{name} {value}"


def choices(kind: Any) -> set[Any]:
    """The words that a setting takes."""
    if get_origin(kind) is Literal:
        return set(get_args(kind))
    return set().union(*map(choices, get_args(kind)))
