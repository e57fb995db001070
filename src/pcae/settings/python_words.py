"""Messages that name flags of the command line, in the words of Python."""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

FLAG = re.compile(r"(?<!\w)--(no-)?([a-z][a-z0-9-]*)(?: (\d[\d.:]*\d|\d|[A-Z]+\b|[a-z][\w-]*))?")
"""A flag, and what may be its value: a number, what stands for a value, a word."""


def in_python(message: str, kinds: Mapping[str, Any]) -> str:
    """A message with arguments in the place of flags: `use --val-fraction 0.2` becomes `use val_fraction=0.2`.

    kinds: the type of each argument, by its name.
    """
    return FLAG.sub(lambda found: argument(found[2].replace("-", "_"), found[3], kinds, not found[1]), message)


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
