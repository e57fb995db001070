"""Settings side by side: means over seeds, paired differences to the first, and what the paper reports beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pcae.terminal import markdown_table, one_line

ACCURACIES = ("finetuned", "knn", "linear", "attentive")
"""Columns whose differences to the first row are shown, and drawn."""
NOTHING = "–"
"""What stands where there is no value."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """Something measured. title: with its unit, that of `scale` times the value."""

    name: str
    title: str
    digits: int
    scale: float = 1.0
    better: Literal["higher", "lower"]


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """A setting. cells: values by seed and column. once: values by column that are no seed's, such as speed.

    devices: that seconds were measured on. failed: reasons by seed. paper: its figures there, by key.

    quoted: a method that is not built here. control: a row that the paper lacks.
    """

    name: str
    cells: dict[int, dict[str, float]] = field(default_factory=dict)
    once: dict[str, float] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)
    quoted: bool = False
    failed: dict[int, str] = field(default_factory=dict)
    control: bool = False
    devices: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation of so many values; of one value, or of one that is no seed's (count 0), there
    is no deviation."""

    mean: float
    deviation: float | None
    count: int


def summarise(values: Sequence[float]) -> Summary | None:
    """Mean and deviation; None of no values. A value that is not a number makes both so."""
    if not values:
        return None
    mean = sum(values) / len(values)
    if len(values) == 1:
        return Summary(mean, None, 1)
    squares = sum((value - mean) ** 2 for value in values)
    return Summary(mean, math.sqrt(squares / (len(values) - 1)), len(values))


def name_of(row: ResultRow) -> str:
    """A row's name in one line, and that it is a control."""
    return one_line(f"{row.name} (control)" if row.control else row.name)


def values_of(row: ResultRow, column: Column) -> dict[int, float]:
    """A row's values in a column, as measured, by ascending seed."""
    return {seed: row.cells[seed][column.name] for seed in sorted(row.cells) if column.name in row.cells[seed]}


def reference(rows: Sequence[ResultRow]) -> ResultRow | None:
    """The row that others are compared with: the first that has values."""
    return next((row for row in rows if any(row.cells.values())), None)


def summary(row: ResultRow, column: Column) -> Summary | None:
    """A row's mean and deviation over its seeds, as measured."""
    if column.name in row.once:
        return Summary(row.once[column.name], None, 0)
    return summarise(list(values_of(row, column).values()))


def difference(row: ResultRow, first: ResultRow | None, column: Column) -> Summary | None:
    """Mean and deviation of a row's values less the first row's with the same seeds; None for the first itself."""
    if first is None or row is first:
        return None
    own, base = values_of(row, column), values_of(first, column)
    return summarise([own[seed] - base[seed] for seed in own if seed in base])


def to_plain(rows: Sequence[ResultRow], columns: Sequence[Column], figures: Mapping[str, str]) -> dict[str, Any]:
    """All of it in JSON's types, as measured: `scale` is not applied. A number that is not finite is a word."""
    first = reference(rows)
    found = {
        "reference": first and first.name,
        "columns": [asdict(column) for column in columns],
        "paper_figures": figures,
        "rows": [asdict(row) | {"devices": sorted(row.devices)} | summaries(row, first, columns) for row in rows],
    }
    return plain(found)


def summaries(row: ResultRow, first: ResultRow | None, columns: Sequence[Column]) -> dict[str, dict[str, Any]]:
    """A row's summaries and differences by column, where there are any."""
    found = {column.name: (summary(row, column), difference(row, first, column)) for column in columns}
    return {
        "summary": {name: asdict(own) for name, (own, _) in found.items() if own},
        "difference": {name: asdict(paired) for name, (_, paired) in found.items() if paired},
    }


def plain(value: Any) -> Any:
    """`value` with keys as words, and numbers that are not finite as words, since JSON has none."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_cells(
    rows: Sequence[ResultRow], columns: Sequence[Column], figures: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """A table's header and rows in words: what was measured, then the paper's figures. figures: titles by key."""
    shown = [("setting", [name_of(row) for row in rows]), *measured_cells(rows, columns), *paper_cells(rows, figures)]
    return [title for title, _ in shown], [list(line) for line in zip(*(cells for _, cells in shown), strict=True)]


def measured_cells(rows: Sequence[ResultRow], columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """What was measured, with titles: a column each, and one of differences after each accuracy that has any."""
    first, seeds = reference(rows), len(seeds_of(rows))
    shown = []
    for column in columns:
        own = [(summary(row, column), instead_of(row)) for row in rows]
        shown.append((column.title, [in_words(found, column, seeds) if found else word for found, word in own]))
        paired = [difference(row, first, column) for row in rows]
        if column.name in ACCURACIES and any(paired):
            cells = [in_words(found, column, seeds, sign="+") if found else NOTHING for found in paired]
            shown.append((f"{column.title}, difference", cells))
    return shown


def paper_cells(rows: Sequence[ResultRow], figures: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The paper's figures, with titles, with the decimals that the paper has in that column."""
    shown = []
    for key, title in figures.items():
        digits = max((decimals(row.paper[key]) for row in rows if key in row.paper), default=0)
        cells = [f"{row.paper[key]:.{digits}f}" if key in row.paper else NOTHING for row in rows]
        shown.append((f"paper: {title}", cells))
    return shown


def decimals(value: float) -> int:
    """Digits after the point that it takes to write a figure."""
    return len(f"{value:.6f}".rstrip("0").partition(".")[2])


def seeds_of(rows: Sequence[ResultRow]) -> list[int]:
    """All seeds that were tried, ascending."""
    return sorted({seed for row in rows for seed in (*row.cells, *row.failed)})


def instead_of(row: ResultRow) -> str:
    """What stands in the place of a value that a row does not have."""
    if row.quoted:
        return "quoted"
    return "failed" if row.failed and not any(row.cells.values()) else NOTHING


def in_words(found: Summary, column: Column, seeds: int, sign: str = "") -> str:
    """A summary in the column's unit: `81.2 ± 0.3`, and of how many seeds where not of all. sign: `+` shows it."""
    text = f"{column.scale * found.mean:{sign}z.{column.digits}f}"
    if found.deviation is not None:
        text += f" ± {column.scale * found.deviation:.{column.digits}f}"
    return text if found.count in (0, seeds) else f"{text} ({found.count} of {seeds})"


def to_markdown(
    title: str, rows: Sequence[ResultRow], columns: Sequence[Column], figures: Mapping[str, str], remark: str = ""
) -> str:
    """A title, one table, and below it what its signs mean, the remark, and why rows failed."""
    table = markdown_table(*to_cells(rows, columns, figures))
    failures = [
        one_line(f"- {row.name}, seed {seed}: {row.failed[seed]}") for row in rows for seed in sorted(row.failed)
    ]
    parts = [f"## {one_line(title)}", table, *explain(rows, columns, figures), one_line(remark)]
    return "\n\n".join(part for part in (*parts, "\n".join(failures)) if part) + "\n"


def explain(rows: Sequence[ResultRow], columns: Sequence[Column], figures: Mapping[str, str]) -> list[str]:
    """Sentences that belong below a table."""
    first, seeds = reference(rows), seeds_of(rows)
    numbers = ", ".join(map(str, seeds))
    accuracies = [column for column in columns if column.name in ACCURACIES]
    paired = any(difference(row, first, column) for row in rows for column in accuracies)
    base = first.name if first else NOTHING
    said = [
        (len(seeds) == 1, f"seed {numbers}: one alone, which says nothing about the spread over seeds."),
        (len(seeds) > 1, f"±: mean and sample standard deviation over seeds {numbers}, or fewer where it says so."),
        (paired, f"difference: to {base}, seed by seed over the seeds that both have, in the column's unit."),
        (bool(figures), "paper: what the paper reports, on ImageNet and V100 GPUs. None of it was measured here."),
        (any(row.quoted for row in rows), "quoted: a method that is not built here."),
        (any(row.control for row in rows), "control: a row that the paper's table lacks."),
    ]
    return [sentence for holds, sentence in said if holds]
