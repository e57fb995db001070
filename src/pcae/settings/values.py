"""Frozen dataclasses <-> values by flat names, strictly: unknown names and wrong types are errors."""

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from pcae.settings.given import Given
from pcae.settings.sources import ONLY_PYTHON, given

T = TypeVar("T")
adapter = cache(TypeAdapter[Any])
"""What checks values of a type; made once, which takes longer than to check."""


def leaves(cls: type) -> dict[str, Any]:
    """The type of every setting of a configuration, by its leaf name. Two of one name are an AssertionError."""
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(cls).items():
        inner = leaves(kind) if dataclasses.is_dataclass(kind) and isinstance(kind, type) else {name: kind}
        assert not found.keys() & inner.keys(), f"{cls.__name__} has two settings {found.keys() & inner.keys()}"
        found |= inner
    return found


def flags(cls: type) -> dict[str, Any]:
    """The type of every setting that the command line has, by its leaf name: all but those that only Python has."""
    return {name: kind for name, kind in leaves(cls).items() if name not in ONLY_PYTHON}


def kind(annotation: Any) -> str:
    """A setting's type in words: `a whole number`, `2 numbers`, `one of mean, cls`, `some of mean, cls`."""
    inner = [inner for inner in get_args(annotation) if inner is not type(None)]
    if get_origin(annotation) in (Union, UnionType):
        return kind_of_any(inner)
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, inner))}" if len(inner) > 1 else f"the word {inner[0]}"
    if get_origin(annotation) is tuple and get_origin(inner[0]) is Literal:
        return kind(inner[0]).replace("one of", "some of", 1)
    if get_origin(annotation) is tuple:
        number = "some" if Ellipsis in inner else str(len(inner))
        return f"{number} {kind(inner[0]).removeprefix('a ')}s"
    if len(inner) == 1 or (inner and get_origin(annotation) is Annotated):
        return kind(inner[0])
    names = {
        int: "a whole number",
        float: "a number",
        Path: "a path",
        bool: "true or false",
        dict: "`name: value` lines",
    }
    return names.get(get_origin(annotation) or annotation, "a word")


def kind_of_any(kinds: list[Any]) -> str:
    """The types that a setting takes one of, in words."""
    if {int, str} <= set(kinds) <= {int, float, str}:
        return "steps, such as 500, or epochs, such as 2ep"
    return "a number or a range A:B" if set(kinds) == {float, str} else " or ".join(map(kind, kinds))


def flatten(config: Any) -> dict[str, Any]:
    """The values of a configuration by leaf name."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        flat |= flatten(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return flat


def build(cls: type[T], values: dict[str, Any], missing: Any = None) -> T:
    """A configuration with these values by leaf name, its defaults elsewhere, `missing` where it has none."""
    kinds, arguments = get_type_hints(cls), {}
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        kind = kinds[field.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            usual = {} if field.default is dataclasses.MISSING else flatten(field.default)
            arguments[field.name] = build(kind, usual | values, missing)
        elif field.name in values:
            arguments[field.name] = values[field.name]
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            arguments[field.name] = missing
    return cls(**arguments)


def check_values(cls: type, values: dict[str, Any], source: str) -> dict[str, Any]:
    """`values` with dashes as underscores and of the types that `cls` wants. Raises ValueError naming `source`."""
    kinds, checked = leaves(cls), {}
    for key, found in values.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            raise ValueError(f"{source}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        value = given(name, found)
        if "\0" in str(value):
            raise ValueError(f"{source}: {key} has a zero byte in it")
        if any(isinstance(one, Given) for one in (value if isinstance(value, tuple) else (value,))):
            checked[name] = value
            continue
        try:
            checked[name] = adapter(kinds[name]).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            raise ValueError(f"{source}: {key} takes {kind(kinds[name])}, got {value!r}") from error
    return checked


def without_rivals(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`values` less what `names`, set with higher precedence, make void: steps void epochs, epochs void steps."""
    rivals = {"epochs": "steps", "steps": "epochs"}
    void = {rivals[name] for name in names if name in rivals}
    return {name: value for name, value in values.items() if name not in void}


def expand(path: str | Path) -> Path:
    """A path with `~` filled in. Raises ValueError for the home of a user who is not there."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"path {str(path)!r} names the home of a user who is not here") from error


def place_of(path: Path) -> str:
    """A path, or an address, of whose two slashes Path makes one."""
    return re.sub(r"^([a-z][a-z0-9+.-]+):/(?=[^/])", r"\1://", str(path))


def at_home(config: T) -> T:
    """A configuration with `~` filled in in all its paths.

    Raises ValueError for an address where only a disk will do: all paths but those that its class names as ADDRESSES.
    """
    paths = {
        field.name: expand(getattr(config, field.name))
        for field in dataclasses.fields(config)  # pyright: ignore[reportArgumentType]
        if isinstance(getattr(config, field.name), Path)
    }
    for name, path in paths.items():
        if "://" in place_of(path) and name not in getattr(config, "ADDRESSES", ()):
            raise ValueError(f"{name} {place_of(path)!r} is an address; give a path on a disk of this machine")
    return dataclasses.replace(config, **paths)  # pyright: ignore[reportArgumentType, reportCallIssue]


def to_yaml(config: Any) -> str:
    """A configuration as flat YAML that `read_yaml` takes."""
    return yaml.safe_dump(to_plain(config), sort_keys=False)


def to_plain(config: Any) -> dict[str, Any]:
    """A configuration by leaf name in JSON's types."""
    return json.loads(json.dumps(flatten(config), default=str))
