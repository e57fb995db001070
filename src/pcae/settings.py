"""Frozen dataclasses <-> flat names <-> YAML, strictly: unknown keys and wrong types are errors."""

import dataclasses
import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
AUTO = "auto"
"""The recipe that is picked by the images and the device."""
RECIPES = resources.files("pcae") / "recipes"


def leaves(cls: type) -> dict[str, Any]:
    """The type of every knob of a configuration, by its leaf name. Two knobs of one name are an AssertionError."""
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(cls).items():
        inner = leaves(kind) if dataclasses.is_dataclass(kind) and isinstance(kind, type) else {name: kind}
        assert not found.keys() & inner.keys(), f"two knobs are named {found.keys() & inner.keys()} in {cls.__name__}"
        found |= inner
    return found


def kind(annotation: Any) -> str:
    """A knob's type in words: `a whole number`, `2 numbers`, `one of mean, cls`, `some of mean, cls`."""
    inner = [inner for inner in get_args(annotation) if inner is not type(None)]
    if set(inner) == {float, str}:
        return "a number or a range A:B"
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, inner))}"
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
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            raise ValueError(f"{source}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if "\0" in str(value):
            raise ValueError(f"{source}: {key} has a zero byte in it")
        try:
            checked[name] = TypeAdapter(kinds[name]).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            raise ValueError(f"{source}: {key} takes {kind(kinds[name])}, got {value!r}") from error
    return checked


def without_rivals(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`values` less what `names`, set with higher precedence, make void: steps void epochs, epochs void steps."""
    rivals = {"epochs": "steps", "steps": "epochs"}
    void = {rivals[name] for name in names if name in rivals}
    return {name: value for name, value in values.items() if name not in void}


class Yaml(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as it is everywhere else, 0:0.4 is none (to base 60), and no key stands twice.

    Nor does a value stand for another one (*name): nine lines of nine of them each are more than any memory holds.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":int", ":float"))]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A value that is written out."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"*{self.peek_event().anchor} stands for another value; write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping without repeated keys."""
        keys = [str(key.value).replace("-", "_") for key, _ in node.value]
        twice = next((key for key, times in Counter(keys).items() if times > 1), None)
        if twice:
            raise yaml.YAMLError(f"{twice} stands there twice")
        return super().construct_mapping(node, deep)


NUMBERS = {
    "int": r"^[-+]?(0b[01_]+|0x[\da-fA-F_]+|0[0-7_]*|[1-9][\d_]*)$",
    "float": r"^[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\.\d[\d_]*([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF))$"
    r"|^\.(nan|NaN|NAN)$",
}
for word, pattern in NUMBERS.items():
    Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{word}", re.compile(pattern), list("-+.0123456789"))


def read_yaml(cls: type, path: Path) -> dict[str, Any]:
    """The checked values of a flat YAML file. Raises ValueError when it cannot be read or does not fit `cls`."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Yaml) or {}
    except Exception as error:  # the loader raises errors of every kind on what only looks like YAML
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as YAML: {reason}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold `name: value` lines, got {type(values).__name__}")
    return check_values(cls, values, str(path))


def layered(
    cls: Any, recipe: str | None, file: Path | None, picked: str | None = None, flags: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The values of a YAML file over those of a recipe, which the file may name itself.

    picked: the recipe that `auto` stands for; without it, auto has no values. flags: what will stand over both; what
    of the recipe does not go with it or the file, by `cls.fitting`, is left out.
    """
    values = read_yaml(cls, file) if file else {}
    if values.pop("config", None):
        raise ValueError(f"{file}: a configuration file cannot name another one by `config`")
    recipe = recipe or values.get("recipe")
    if recipe == AUTO:
        recipe = picked
    usual = cls.fitting(read_recipe(cls, recipe), values | dict(flags or {})) if recipe else {}
    return without_rivals(usual, values) | values


def recipe_names(cls: type) -> list[str]:
    """The recipes that the package ships for a verb with the configuration `cls`."""
    names = sorted(entry.name.removesuffix(".yaml") for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))
    return [name for name in names if keys_of_recipe(name) <= leaves(cls).keys()]


def keys_of_recipe(name: str) -> set[str]:
    """The knobs that a shipped recipe sets."""
    return {str(key).replace("-", "_") for key in yaml.load((RECIPES / f"{name}.yaml").read_text("utf-8"), Yaml)}


def read_recipe(cls: type, name: str) -> dict[str, Any]:
    """The checked values of a shipped recipe. Raises ValueError for an unknown name, or one of another verb."""
    names = recipe_names(cls)
    if name not in names:
        why = "is for another verb" if (RECIPES / f"{name}.yaml").is_file() else "is not known"
        raise ValueError(f"recipe {name!r} {why}; choose from {', '.join([AUTO, *names])}, or use --config FILE")
    with resources.as_file(RECIPES / f"{name}.yaml") as path:
        return read_yaml(cls, path)


def expand(path: str | Path) -> Path:
    """A path with `~` filled in. Raises ValueError for the home of a user who is not there."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"path {str(path)!r} names the home of a user who is not here") from error


def at_home(config: T) -> T:
    """A configuration with `~` filled in in all its paths."""
    paths = {
        field.name: expand(getattr(config, field.name))
        for field in dataclasses.fields(config)  # pyright: ignore[reportArgumentType]
        if isinstance(getattr(config, field.name), Path)
    }
    return dataclasses.replace(config, **paths)  # pyright: ignore[reportArgumentType, reportCallIssue]


def to_yaml(config: Any) -> str:
    """A configuration as flat YAML that `read_yaml` takes."""
    return yaml.safe_dump(to_plain(config), sort_keys=False)


def to_plain(config: Any) -> dict[str, Any]:
    """A configuration by leaf name in JSON's types."""
    return json.loads(json.dumps(flatten(config), default=str))
