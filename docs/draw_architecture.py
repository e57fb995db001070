"""Draws docs/architecture.svg and the tree in docs/architecture.md from the code: its imports and its docstrings.

python docs/draw_architecture.py      # `make format` does it too; a test holds both files to what this draws
"""

import ast
import re
import tomllib
from collections import Counter
from functools import cache
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SOURCE = ROOT / "src" / "pcae"
PICTURE, PAGE = DOCS / "architecture.svg", DOCS / "architecture.md"
TREE = re.compile(r"(?<=<!-- tree -->\n).*?(?=<!-- end -->)", re.DOTALL)
ROW, CELL, NAMES, CAPTIONS, MATRIX, TOP = 30, 24, 60, 180, 830, 110


@cache
def modules():
    """Every module of the package by its dotted name below pcae, such as `model.encoder`; a room by its own name."""
    named = {path.relative_to(SOURCE).with_suffix(""): path for path in sorted(SOURCE.rglob("*.py"))}
    parts = {path.parts[:-1] if path.name == "__init__" else path.parts: file for path, file in named.items()}
    return {".".join(place): file for place, file in parts.items() if place not in {(), ("__main__",)}}


def imported(path, known):
    """Modules among `known` that a file imports, inside of functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name.removeprefix("pcae.") in known else node.module for name in below}
    return {name.removeprefix("pcae.") for name in names if name.startswith("pcae.")} & known.keys()


@cache
def edges():
    """What each module imports."""
    known = modules()
    return {name: imported(path, known) - {name} for name, path in known.items()}


def floors():
    """The rooms, floor by floor from the top, as pyproject.toml has them for import-linter."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [re.split(r"\s*[|:]\s*", layer) for layer in layers]


def caption(path):
    """The first sentence of a module's docstring."""
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=\.) ", first)[0].removesuffix(".")


def room_edges():
    """How many modules of one room import modules of another: {(from, to): count}."""
    pairs = ((one.split(".")[0], other.split(".")[0]) for one, others in edges().items() for other in others)
    return Counter((one, other) for one, other in pairs if one != other)


def text(x, y, words, more=""):
    """A line of text."""
    return f'<text x="{x}" y="{y}" {more}>{escape(words)}</text>'


def dot(row, column, pair, count):
    """That the room of a row imports the room of a column, so many times."""
    x, y = MATRIX + CELL * (column + 0.5), TOP + ROW * (row + 0.5)
    title = f"<title>{pair[0]} imports {pair[1]}: {count}</title>"
    return f'<circle cx="{x}" cy="{y}" r="{min(9.0, 2.5 + count**0.5):.1f}">{title}</circle>'


def picture():
    """The floors with what each room is, and which room imports which."""
    known, rooms = modules(), [room for floor in floors() for room in floor]
    place = {room: index for index, room in enumerate(rooms)}
    width, height = MATRIX + CELL * len(rooms) + 50, TOP + ROW * len(rooms) + 45
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(15, 30, "The house: imports only go down", 'font-size="20"'),
    ]
    for number, floor in enumerate(floors()):
        top, tall, shade = TOP + ROW * place[floor[0]], ROW * len(floor), ("#f1f4f8", "#e2e8f0")[number % 2]
        lines.append(f'<rect x="10" y="{top}" width="{width - 20}" height="{tall}" fill="{shade}"/>')
        lines.append(text(22, top + tall // 2 + 5, str(len(floors()) - 1 - number), 'font-size="15" fill="#64748b"'))
    for room, index in place.items():
        y, x = TOP + ROW * index + 20, MATRIX + CELL * index
        lines.append(text(NAMES, y, room, 'font-size="14" font-weight="bold"'))
        lines.append(text(CAPTIONS, y, caption(known[room]), 'font-size="12" fill="#334155"'))
        lines.append(text(x + 16, TOP - 8, room, f'font-size="12" transform="rotate(-50 {x + 16} {TOP - 8})"'))
        lines.append(f'<rect x="{x + 4}" y="{TOP + ROW * index + 7}" width="16" height="16" fill="#94a3b8"/>')
    found = sorted(room_edges().items(), key=lambda edge: (place[edge[0][0]], place[edge[0][1]]))
    lines += ['<g fill="#2563eb">', *(dot(place[a], place[b], (a, b), count) for (a, b), count in found), "</g>"]
    note = "A dot: the room of the row imports the room of the column; the larger, the more of its files do."
    return "\n".join([*lines, text(NAMES, height - 18, note, 'font-size="13"'), "</svg>\n"])


def branch(name, path, depth):
    """A line of the tree."""
    room = path.name == "__init__.py"
    return f"{'  ' * depth}{path.parent.name + '/' if room else path.name}".ljust(27) + f" {caption(path)}"


def tree():
    """Every room and file with its caption, rooms in the order of the floors."""
    order = {room: index for index, floor in enumerate(floors()) for room in floor}
    known = {name: path for name, path in modules().items() if name.split(".")[0] in order}
    names = sorted(known, key=lambda name: (order[name.split(".")[0]], name.split(".")))
    return "\n".join(["```text", *(branch(name, known[name], name.count(".")) for name in names), "```", ""])


def page(words):
    """The page with the tree as it is now."""
    return TREE.sub(lambda _: tree(), words)


if __name__ == "__main__":
    PICTURE.write_text(picture())
    PAGE.write_text(page(PAGE.read_text()))
