"""Writes the pages of the site that say what the code says: a page for each verb, from its settings, and one of the
public names, from their signatures and docstrings.

python docs/reference_pages.py FOLDER      # `make docs` does it, into docs/reference
"""

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import tyro

import pcae
from pcae.functions import FUNCTIONS, Function
from pcae.settings.arguments import python_name
from pcae.settings.help import default_in_words, explanations, flags_of, metavar
from pcae.settings.values import build, flags, flatten
from pcae.settings.verbs import VERBS, config_of
from pcae.settings.words import positional_metavars

SPECIAL = re.compile(r"([*_<>\[\]|$])")


def write(folder: Path) -> None:
    """Write all pages, and remove those of verbs that are no more."""
    pages = {folder / "verbs" / f"{verb.replace(' ', '-')}.md": verb_page(verb) for verb in VERBS}
    pages[folder / "names.md"] = names_page()
    (folder / "verbs").mkdir(parents=True, exist_ok=True)
    for path in {*(folder / "verbs").iterdir()} - pages.keys():
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text("utf-8") != text:  # what did not change is not built again
            path.write_text(text, "utf-8")


def words(text: str) -> str:
    """Plain text, with code between backticks, as Markdown that shows the same."""
    return "".join(
        part if part.startswith("`") else SPECIAL.sub(r"\\\1", part) for part in re.split(r"(`[^`]*`)", text)
    )


def code(text: str) -> str:
    """Text as code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def verb_page(verb: str) -> str:
    """What a verb does, its examples, and every setting of it."""
    cls = config_of(verb)
    examples = [f"pcae {verb} {example}".rstrip() for example in cls.EXAMPLES]
    return "\n".join(
        [
            *(f"# pcae {verb}", "", words(inspect.getdoc(cls) or ""), "", "```sh", *examples, "```", ""),
            *in_python(verb),
            *("## Settings", "", usual(cls), ""),
            *tables(cls, flatten(build(cls, {}, missing=tyro.MISSING))),
        ]
    )


def in_python(verb: str) -> Iterator[str]:
    """How the verb is called from Python, where it can be."""
    told = FUNCTIONS.get(python_name(verb))
    if told is not None:
        yield from (f"From Python: `{call(verb, told)}`. {words(told.says)}", "")


def call(verb: str, told: Function) -> str:
    """A call with the arguments that need no name."""
    return f"pcae.{python_name(verb)}({', '.join(told.first)}, ...)"


def usual(cls: type) -> str:
    """Which settings `--help` shows."""
    few = len(flags(cls)) > len(getattr(cls, "USUAL", "").split()) > 0
    return "Those in bold are the usual ones, which `--help` shows." if few else ""


def tables(cls: Any, defaults: dict[str, Any]) -> Iterator[str]:
    """The settings of a class in a table, then those of each group in it."""
    kinds = get_type_hints(cls)
    groups = {name: kind for name, kind in kinds.items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)}
    yield from table(cls, [name for name in kinds if name in flags(cls) and name not in groups], defaults)
    for kind in groups.values():
        yield from (f"### {words(first_sentence(kind))}", "")
        yield from table(cls, [*flags(kind)], defaults)


def first_sentence(kind: type) -> str:
    """What a group of settings is."""
    return re.split(r"\.(?:\s|$)", inspect.getdoc(kind) or kind.__name__)[0]


def table(cls: Any, names: list[str], defaults: dict[str, Any]) -> Iterator[str]:
    """A row for each setting: its flag, the value that it takes, what it is with nothing said, and what it does."""
    said, kinds, places = explanations(cls), flags(cls), positional_metavars(cls)
    shown = set(getattr(cls, "USUAL", "").split())
    yield from ("| setting | value | default | is |", "| --- | --- | --- | --- |")
    for name in names:
        flag = places.get(name) or ", ".join(flags_of(name, kinds[name], defaults[name]))
        strong = "**" if name in shown else ""
        value = "" if name in places else metavar(kinds[name])
        yield f"| {strong}{code(flag)}{strong} | {code(value)} | {default_of(defaults[name])} | {words(said[name])} |"
    yield ""


def default_of(value: Any) -> str:
    """What a setting is with nothing said, as a cell of a table."""
    return code(default_in_words(value).strip(" ()").removeprefix("default: "))


def names_page() -> str:
    """The public names: functions that are verbs, other functions, classes."""
    rows = [
        f"| [`pcae.{name}`](verbs/{told.verb.replace(' ', '-')}.md) | {code(told.returns)} | {words(told.says)} |"
        for name, told in sorted(FUNCTIONS.items())
    ]
    return "\n".join(
        [
            *("# Names in Python", "", "How they go together: [From Python](../python.md).", "", "## Verbs", ""),
            "Their arguments are the settings of the verb, with underscores.",
            *("", "| function | returns | that is |", "| --- | --- | --- |", *rows, ""),
            *("## Functions and classes", ""),
            *(line for name in sorted(pcae._PUBLIC) for line in named(name, getattr(pcae, name))),
        ]
    )


def named(name: str, found: Any) -> Iterator[str]:
    """A function or class: its signature as it is written, what it is, and its methods or settings."""
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(found))).body
    yield from (f"### pcae.{name}", "", *signature(name, written), words(inspect.getdoc(found) or ""), "")
    if not isinstance(written, ast.ClassDef):
        return
    if explanations(found):
        yield from ("| setting | default | is |", "| --- | --- | --- |")
        defaults = flatten(build(found, {}, missing=tyro.MISSING))
        for field, said in explanations(found).items():
            yield f"| `{field}` | {default_of(defaults[field])} | {words(said)} |"
        yield ""
    for method in written.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and method.name != "forward":
            yield from (*signature(method.name, method), words(ast.get_docstring(method) or ""), "")


def signature(name: str, written: ast.stmt) -> Iterator[str]:
    """A call as its definition has it, with types."""
    if isinstance(written, ast.ClassDef):
        begin = [one for one in written.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        if not begin:
            return
        (written,) = begin
    assert isinstance(written, ast.FunctionDef)
    if any(ast.unparse(one).endswith("property") for one in written.decorator_list):
        yield from ("```python", name, "```", "")
        return
    arguments = ast.unparse(written.args).removeprefix("self, ").removeprefix("self")
    returns = f" -> {ast.unparse(written.returns)}" if written.returns and written.name != "__init__" else ""
    yield from ("```python", f"{name}({arguments}){returns}", "```", "")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
