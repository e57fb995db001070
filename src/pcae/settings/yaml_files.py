"""Flat YAML files of settings."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from pcae.settings.values import check_values


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
