"""What README and docs tell a reader to type: commands of the shell and blocks of Python, each with its place."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
]
FENCE = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = {"sh", "bash", "console", "shell"}
HEADS = ("pcae", "python", "make", "torchrun", "srun", "pytest", "pip")
"""First words of commands where they stand in a line of text or in an indented block."""
STARTERS = {"torchrun", "srun", "python", "python3"}
"""Programs that start `pcae` as `-m pcae`."""


@dataclass(frozen=True)
class Command:
    """A command: its words, and whether it is shown to be typed as it is, or stands in a line of text."""

    place: str
    words: tuple[str, ...]
    shown: bool = True
    started: bool = False
    """By torchrun or srun, in several processes."""

    def __str__(self) -> str:
        return f"{self.place} {' '.join(self.words)}"

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left to the reader."""
        return "..." not in self.words


def fences(text: str) -> Iterator[tuple[int, str, str]]:
    """Fenced blocks: the number of their first line, what they are, and what stands in them."""
    for fence in FENCE.finditer(text):
        yield text[: fence.start(2)].count("\n") + 1, fence[1], fence[2]


def without_fences(text: str) -> str:
    """The text with blank lines in place of fenced blocks."""
    return FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)


def whole_lines(block: str) -> Iterator[tuple[int, str]]:
    """Lines with those that a backslash carries on, without comments and remarks; each with its number in the block."""
    number, held = 0, ""
    for index, line in enumerate(block.splitlines()):
        number = number if held else index
        held += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield number, re.sub(r"(?:^|\s)#.*$|\s{3,}\(.*$", "", held).strip()
            held = ""


def parts_of(line: str) -> Iterator[str]:
    """The commands of a line."""
    for part in line.split("&&"):
        inner = re.fullmatch(r"\s*source <\((.*)\)\s*", part)
        yield re.sub(r"\[(--[^\]]*)\]", r"\1", inner[1] if inner else part).strip()


def command(place: str, line: str, shown: bool) -> Command | None:
    """A line as a command, without variables before it and what starts it; None for an empty one."""
    words = shlex.split(line)
    while words and (re.fullmatch(r"[A-Z_]+=\S*", words[0]) or words[0] == "time"):
        words = words[1:]
    if not words:
        return None
    for index in range(len(words) - 1):
        if words[0] in STARTERS and words[index : index + 2] == ["-m", "pcae"]:
            return Command(place, tuple(words[index + 1 :]), shown, words[0] in {"torchrun", "srun"})
    return Command(place, tuple(words), shown)


def commands(page: Path) -> list[Command]:
    """All commands of a page, in order: in fenced and indented blocks, and in lines of text."""
    text, found = page.read_text(), []
    for first, kind, block in fences(text):
        if kind in SHELL and not block.startswith("#!"):
            found += [(first + number, part, True) for number, line in whole_lines(block) for part in parts_of(line)]
        elif kind in SHELL:  # a script: what starts pcae in it
            found += [(first + number, line, True) for number, line in whole_lines(block) if line.startswith(HEADS)]
    plain = without_fences(text)
    indented = re.sub(r"^(?!    ).*$", "", plain, flags=re.MULTILINE)
    found += [
        (number + 1, part, True)
        for number, line in whole_lines(re.sub(r"^    ", "", indented, flags=re.MULTILINE))
        for part in parts_of(line)
        if part.split(" ")[0] in HEADS
    ]
    for code in re.finditer(
        rf"`((?:[A-Z_]+=\S+ )?(?:{'|'.join(HEADS)}) [^`]+)`", re.sub(r"^    .*$", "", plain, flags=re.MULTILINE)
    ):
        found.append((plain[: code.start()].count("\n") + 1, next(parts_of(code[1].replace("\\|", "|"))), False))
    made = (command(f"{page.name}:{number}", line, shown) for number, line, shown in sorted(found))
    return [one for one in made if one is not None]


def scripts(page: Path) -> list[str]:
    """Blocks that are scripts of the shell as a whole."""
    return [block for _, kind, block in fences(page.read_text()) if kind in SHELL and block.startswith("#!")]


def python_blocks(page: Path) -> list[tuple[str, str]]:
    """Blocks of Python, each with its place."""
    return [(f"{page.name}:{first}", block) for first, kind, block in fences(page.read_text()) if kind == "python"]
