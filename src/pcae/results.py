"""What verbs return: objects that read as tables, in a terminal and in a notebook, and become pandas' frames."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcae.settings.text import visible
from pcae.terminal import table, table_in_text

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Table:
    """A table in words; the first column is text, the others are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """The table for a notebook; names of strangers' files in it are text."""
        head = "".join(f"<th>{in_html(column)}</th>" for column in self.columns)
        rows = ("".join(f"<td>{in_html(cell)}</td>" for cell in row) for row in self.rows)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        caption = f"<caption>{in_html(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


Block = Table | str
"""Part of what a result says: a table, or a line."""


class Result(ABC):
    """What a verb found. It prints as tables; `to_pandas` has the numbers as they were measured."""

    @abstractmethod
    def blocks(self) -> list[Block]:
        """What it says, in order."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Its rows, numbers as they were measured, by column."""

    def __repr__(self) -> str:
        return "\n".join(in_text(block) for block in self.blocks())

    def _repr_html_(self) -> str:
        blocks = self.blocks()
        return "".join(block.html() if isinstance(block, Table) else f"<p>{in_html(block)}</p>" for block in blocks)

    def to_pandas(self) -> "DataFrame":
        """The rows as a frame of pandas'. Raises ValueError where pandas is not installed."""
        return import_pandas().DataFrame(self.records())


class Record(Result, dict[str, Any]):
    """What a verb found, by name; it prints as a table of two columns, without what is long."""

    def title(self) -> str:
        """What stands above the table."""
        return ""

    def blocks(self) -> list[Block]:
        """A row for each value that fits into one."""
        return [Table(self.title(), ["", "value"], [[name, short(self[name])] for name in self.plain()])]

    def plain(self) -> list[str]:
        """The names of the values that are no lists and no groups."""
        return [name for name, value in self.items() if not isinstance(value, dict | list)]

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        return [dict(self)]


class RunSummary(Record):
    """What came of a run of training: its weights, figures and seconds, and `warnings`."""

    def title(self) -> str:
        """Which run it was."""
        return f"run {Path(self['weights']).parent}" if "weights" in self else ""

    def blocks(self) -> list[Block]:
        """The values that fit into a row, and what looked wrong."""
        return [*super().blocks(), *map(str, self.get("warnings", []))]


def short(value: Any) -> str:
    """A value in a cell."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def in_text(block: Block) -> str:
    """A block for a terminal."""
    return visible(block) if isinstance(block, str) else table_in_text(block.title, block.columns, block.rows)


def in_html(text: str) -> str:
    """A text that stands in a page as it is."""
    return escape(visible(text))


def print_result(result: Result) -> None:
    """Print what a result says to standard output."""
    for block in result.blocks():
        if isinstance(block, Table):
            table(block.title, block.columns, block.rows)
        else:
            print(visible(block))


def import_pandas() -> Any:
    """The package pandas. Raises ValueError with the remedy where it is not installed."""
    try:
        return import_module("pandas")
    except ImportError as error:
        raise ValueError("to_pandas needs the package pandas: pip install pandas") from error
