"""Named settings that the package ships, and what stands over what: flags > file > recipe > defaults."""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pcae.settings.reading import REPLACED
from pcae.settings.training import RunSettings
from pcae.settings.values import at_home, build, check_values, leaves, without_rivals
from pcae.settings.verbs import VERBS, config_of
from pcae.settings.yaml_files import Yaml, read_yaml

AUTO = "auto"
"""The recipe that is picked by the images and the device."""
RECIPES = resources.files("pcae") / "recipes"


def layered(cls: Any, flags: Mapping[str, Any], picked: str | None = None) -> dict[str, Any]:
    """What stands under these flags: the values of the file of the flag `config`, and under them those of a recipe,
    which a flag or the file names. What does not go with a flag or the file is left out.

    picked: the recipe that `auto` stands for; without it, auto has no values.
    """
    file = flags.get("config")
    values = read_yaml(cls, Path(file)) if file else {}
    if values.pop("config", None):
        raise ValueError(f"{file}: a configuration file cannot name another one by `config`")
    recipe = flags.get("recipe") or values.get("recipe")
    if recipe == AUTO:
        recipe = picked
    usual = cls.applicable(read_recipe(cls, recipe), {**values, **flags}) if recipe else {}
    return without_rivals(without_rivals(usual, values) | values, flags)


def recipe_names(cls: type) -> list[str]:
    """The recipes that the package ships for a verb with the configuration `cls`."""
    known = leaves(cls).keys()
    return [name for name in shipped() if settings_of(name) <= known]


def shipped() -> list[str]:
    """The names of all recipes."""
    return sorted(entry.name.removesuffix(".yaml") for entry in RECIPES.iterdir() if entry.name.endswith(".yaml"))


@cache
def settings_of(recipe: str) -> set[str]:
    """The names of the settings in a shipped recipe."""
    return {str(key).replace("-", "_") for key in yaml.load((RECIPES / f"{recipe}.yaml").read_text("utf-8"), Yaml)}


def purposes() -> dict[str, dict[str, str]]:
    """What every recipe is for, by the verbs that take recipes."""
    takers = {verb: config_of(verb) for verb in VERBS if issubclass(config_of(verb), RunSettings)}
    return {verb: {name: purpose(name) for name in recipe_names(cls)} for verb, cls in takers.items()}


def purpose(name: str) -> str:
    """What a shipped recipe is for: the first sentence of the comment that it begins with."""
    lines = (RECIPES / f"{name}.yaml").read_text("utf-8").splitlines()
    comment = " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
    return comment.partition(". ")[0] + "."


def read_recipe(cls: type, name: str) -> dict[str, Any]:
    """The checked values of a shipped recipe. Raises ValueError for an unknown name, or one of another verb."""
    known = name in shipped()
    if not known or not settings_of(name) <= leaves(cls).keys():
        choice = ", ".join([AUTO, *recipe_names(cls)])
        why = "is for another verb" if known else "is not known"
        raise ValueError(f"recipe {name!r} {why}; choose from {choice}, or use --config FILE")
    with resources.as_file(RECIPES / f"{name}.yaml") as path:
        return read_yaml(cls, path)


def without_ours(cls: type, flags: Collection[str]) -> dict[str, Any]:
    """The settings in whose place a caller's transform stands, off. Raises ValueError for one that is asked for."""
    twice = next((name for name in REPLACED if name in flags), None)
    if twice:
        raise ValueError(f"transform stands in the place of {twice}; leave {twice} out, or the transform")
    return {name: value for name, value in REPLACED.items() if name in leaves(cls)}


C = TypeVar("C", bound=RunSettings)


def configure(cls: type[C], verb: str, choose_recipe: Callable[[C], str], **flags: Any) -> C:
    """Flags over a file over a recipe, as the command line has it, for calls from Python.

    Raises ValueError for an unknown flag or a value that cannot be.
    """
    own = {name: value for name, value in flags.items() if name != "config"}
    if own.get("transform") is not None:
        file = read_yaml(cls, Path(flags["config"])) if flags.get("config") else {}
        asked = {name for name, off in REPLACED.items() if file.get(name, off) != off}
        own |= without_ours(cls, own.keys() | asked)

    def layers(picked: str | None = None) -> C:
        values = layered(cls, flags, picked) | check_values(cls, own, verb)
        return at_home(build(cls, values | ({"recipe": picked} if picked else {})))

    config = layers()
    return layers(choose_recipe(config)) if config.recipe == AUTO else config
