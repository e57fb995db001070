"""The settings of a run as its page shows them: in groups, beside their defaults."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from pcae.pages.run_data import RunData
from pcae.settings.methods import inapplicable_settings
from pcae.settings.training import RunSettings
from pcae.settings.values import build, to_plain


def settings_of(run: RunData) -> list[dict[str, Any]]:
    """The settings in groups: name, value, the default where it is another, without those that the method lacks."""
    values, usual = to_plain(run.config), to_plain(build(type(run.config), {}))
    hidden = {"out", "json", "dry_run"}
    hidden |= inapplicable_settings(run.config.method.method) if run.verb == "pretrain" else set()
    groups = []
    for title, names in grouped(run.config):
        rows = [
            {
                "name": name.replace("_", "-"),
                "value": shown(values[name]),
                "usual": shown(usual[name]),
                "own": name != "data" and values[name] != usual[name],
            }
            for name in names
            if name not in hidden
        ]
        groups.append({"title": title, "rows": rows})
    return [group for group in groups if group["rows"]]


def grouped(config: Any) -> Iterator[tuple[str, list[str]]]:
    """A configuration and those inside it: the first sentence that each says of itself, the names of its own values."""
    asked, own, inside = isinstance(config, RunSettings), [], []
    for field in dataclasses.fields(config):
        (inside if dataclasses.is_dataclass(getattr(config, field.name)) else own).append(field.name)
    yield "What was asked for" if asked else re.split(r"[.;\n]", str(type(config).__doc__))[0], own
    for name in inside:
        yield from grouped(getattr(config, name))


def shown(value: Any) -> str:
    """A setting as text."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
