"""How verbs speak: results to standard output, everything else to standard error."""

import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from pcae.settings.text import visible

if TYPE_CHECKING:  # verbs that need no torch speak, too
    from torch.utils.data import DataLoader


T = TypeVar("T")


class Terminal(Console):
    """A console on which names of strangers' files rewrite nothing."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text as it is shown."""
        return super().render_str(visible(text), **options)


console = Terminal(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False, force_jupyter=False)
"""Progress and remarks, to standard error in notebooks too; names of files stand in them as they are, so nothing in
brackets is markup."""


def warn(remark: str) -> None:
    """A remark that may matter."""
    console.print(remark, style="yellow")


def answer(found: T, in_json: bool, in_words: Callable[[T], None]) -> None:
    """Print a result, as JSON or in words; of the processes that torchrun or Slurm started, the first one does."""
    if is_main_process():
        (as_json if in_json else in_words)(found)


def command(work: Callable[[Any], T], in_words: Callable[[T], None]) -> Callable[[Any], None]:
    """A verb, by its settings: does its work, and prints what that returns, as JSON or in words."""
    return lambda config: answer(work(config), config.json, in_words)


def is_main_process() -> bool:
    """Whether this is the first of the processes that torchrun or Slurm started, or the only one."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def bar(what: str) -> "Callable[[DataLoader | range], Iterable[Any]]":
    """What shows, on a terminal, how far a pass through a loader or a range is."""
    quiet = not console.is_terminal
    return lambda steps: steps if quiet else track(steps, what, len(steps), console=console, transient=True)


def duration(seconds: int | float) -> str:
    """Seconds as people say them."""
    if not math.isfinite(seconds) or seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class LiveLine:
    """One line on a terminal that changes while work goes on; nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self.what, self.status = what, console.status(what)
        self.status.start()

    def __call__(self, text: str) -> None:
        """Show how far the work is."""
        self.status.update(f"{self.what}: {text}")

    def stop(self) -> None:
        """Take the line away."""
        self.status.stop()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of results, as wide as it is where no terminal limits it; the first column is text, the others are
    numbers."""
    shown = laid_out(title, columns, rows)
    plain(None if sys.stdout.isatty() else width_of(shown)).print(shown)


def table_in_text(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table that `table` prints where no terminal limits it, without colours and blanks at the ends of lines."""
    shown, written = laid_out(title, columns, rows), io.StringIO()
    plain(width_of(shown), written).print(shown)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def laid_out(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    shown = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        shown.add_column(column, justify="right" if index else "left")
    for row in rows:
        shown.add_row(*row)
    return shown


def width_of(shown: Table) -> int:
    """How wide a table is by itself."""
    return max(80, plain(10_000).measure(shown).maximum)


def plain(width: int | None, file: TextIO | None = None) -> Console:
    """A console to standard output, or to a file, on which brackets are brackets."""
    no = False if file else None
    return Terminal(
        highlight=False, markup=False, emoji=False, width=width, file=file, force_terminal=no, force_jupyter=no
    )


def as_json(result: Any) -> None:
    """Print a result, the fields of a dataclass or what JSON has, as one JSON document."""
    print(json.dumps(vars(result) if is_dataclass(result) else result, indent=2, default=in_json))


def in_json(value: Any) -> Any:
    """What stands for a value that JSON does not have: the fields of a dataclass, else its text."""
    return vars(value) if is_dataclass(value) else str(value)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(map(in_cell, line))} |" for line in (header, rule, *lines))


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def in_cell(text: str) -> str:
    """A text that can stand in a cell of a Markdown table."""
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|")
