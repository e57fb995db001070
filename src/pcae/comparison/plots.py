"""Pictures of settings side by side: every seed, means, and what they cost in seconds of training."""

import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from pcae.comparison.table import ACCURACIES, Column, ResultRow, instead_of, name_of, summary, values_of
from pcae.pictures.figures import COLOURS, save, short

Means = dict[int, tuple[float, float]]
"""Where means stand, across and up, by the row's number."""
SECONDS = "seconds"
"""The column that accuracies are drawn against."""
MOST_LETTERS = 80
LINE = 30
"""Letters of a row's name that are shown: in all, and on a line."""
NUMBER = (15.0, 11.0)
MARK = (8.0, 8.0)
"""Width and height in points of the place that a row's number takes, and its mean."""
FAR = 20
"""Points between a mean and its number from which on a line joins them."""
LEADER = {"arrowstyle": "-", "linewidth": 0.9, "shrinkA": 5, "shrinkB": 3}
LOG_FROM = 10
"""Ratio of the longest to the shortest training from which on the seconds have a logarithmic axis."""


def plot(path: Path, title: str, rows: Sequence[ResultRow], columns: Sequence[Column]) -> list[Path]:
    """Write a picture for each accuracy that was measured, `a.png` as `a-knn.png`; and the paths of those written.

    Left the rows in order, right the same against seconds of training, where they are known. Quoted rows have nothing
    to draw and are left out.
    """
    seconds = next((column for column in columns if column.name == SECONDS), None)
    drawn = [row for row in rows if not row.quoted]
    written = []
    for column in columns:
        if column.name in ACCURACIES and any(values_of(row, column) for row in drawn):
            written.append(path.with_stem(f"{path.stem}-{column.name}"))
            with warnings.catch_warnings():  # letters that the font lacks are drawn as boxes; the table has them
                warnings.filterwarnings("ignore", "Glyph .* missing from")
                draw(written[-1], title, drawn, column, seconds)
    return written


def draw(path: Path, title: str, rows: Sequence[ResultRow], column: Column, seconds: Column | None) -> None:
    """Write the picture of one accuracy."""
    labels = [label(number, row, column) for number, row in enumerate(rows, 1)]
    lines = sum(text.count("\n") + 1.6 for text in labels)
    against = seconds is not None and any(values_of(row, seconds) for row in rows)
    width, height = 12 if against else 7.5, max(4.2, 1.8 + 0.16 * lines)
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.suptitle(textwrap.fill(title, int(8 * width)), parse_math=False)
    panels = figure.subplots(1, 2 if against else 1, squeeze=False)[0]
    draw_rows(panels[0], rows, labels, column)
    if against and seconds is not None:
        means = draw_against(panels[1], rows, column, seconds)
        write_numbers(figure, panels[1], means)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)


def label(number: int, row: ResultRow, column: Column) -> str:
    """A row's number and name, in lines; and why something is not drawn."""
    name, reason = short(name_of(row), MOST_LETTERS), why_not_drawn(row, column)
    return textwrap.fill(f"{number}  {name} ({reason})" if reason else f"{number}  {name}", LINE)


def why_not_drawn(row: ResultRow, column: Column) -> str:
    """What stands in the place of values that a row lacks or that cannot be drawn; nothing where all can be."""
    values = values_of(row, column)
    if not values:
        return "failed" if instead_of(row) == "failed" else "not measured"
    return ", ".join(f"{value} with seed {seed}" for seed, value in values.items() if not math.isfinite(value))


def draw_rows(axes: Axes, rows: Sequence[ResultRow], labels: Sequence[str], column: Column) -> None:
    """The rows in order: the mean a little above its line, the seeds a little below."""
    for place, row in enumerate(rows):
        values = [column.scale * value for value in values_of(row, column).values()]
        draw_seeds(axes, values, [place + 0.16] * len(values))
        found = summary(row, column)
        if found:
            draw_mean(
                axes, column.scale * found.mean, place - 0.16, xerr=found.deviation and column.scale * found.deviation
            )
    axes.set_yticks(range(len(rows)), labels, parse_math=False, linespacing=1.0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{column.title}, {column.better} is better", parse_math=False)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.grid(alpha=0.3)


def draw_against(axes: Axes, rows: Sequence[ResultRow], column: Column, seconds: Column) -> Means:
    """The rows against their seconds of training; and where each row's mean stands."""
    means: Means = {}
    for number, row in enumerate(rows, 1):
        values, spent = values_of(row, column), values_of(row, seconds)
        both = [seed for seed in values if seed in spent]
        draw_seeds(axes, [seconds.scale * spent[seed] for seed in both], [column.scale * values[seed] for seed in both])
        found, long = summary(row, column), summary(row, seconds)
        if found and long and math.isfinite(found.mean) and math.isfinite(long.mean):
            means[number] = (seconds.scale * long.mean, column.scale * found.mean)
            draw_mean(axes, *means[number], yerr=found.deviation and column.scale * found.deviation)
    shortest, longest = (pick((x for x, _ in means.values()), default=1) for pick in (min, max))
    if 0 < shortest * LOG_FROM < longest:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())  # its labels would run into one another
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.ticklabel_format(axis="x", useOffset=False)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.margins(0.12)
    axes.set_xlabel(seconds.title, parse_math=False)
    axes.set_ylabel(column.title, parse_math=False)
    axes.grid(alpha=0.3)
    return means


def draw_seeds(axes: Axes, across: Sequence[float], up: Sequence[float]) -> None:
    """A dot for each seed."""
    axes.scatter(across, up, s=22, color=COLOURS[0], alpha=0.55, linewidths=0, label=once(axes, "one seed"))


def draw_mean(axes: Axes, across: float, up: float, *, xerr: float | None = None, yerr: float | None = None) -> None:
    """A mean, and its standard deviation along one axis, where there is one."""
    name = once(axes, "mean ± standard deviation over seeds")
    axes.errorbar(across, up, yerr, xerr, "D", color=COLOURS[1], markersize=6, capsize=3, label=name)


def once(axes: Axes, name: str) -> str:
    """A name for the legend, or none where it stands there already."""
    return "" if name in axes.get_legend_handles_labels()[1] else name


def write_numbers(figure: Figure, axes: Axes, means: Means) -> None:
    """Write each row's number at its mean, as near as there is room, with a line to it when it is far."""
    figure.draw_without_rendering()  # from here on, the layout stands
    in_points = 72 / figure.dpi
    frame = Bbox(axes.get_window_extent().get_points() * in_points)
    at = {number: axes.transData.transform(mean) * in_points for number, mean in means.items()}
    taken = [around(x, y, *MARK) for x, y in at.values()]
    for number, (x, y) in at.items():
        across, up = room(x, y, frame, taken)
        taken.append(around(x + across, y + up, *NUMBER))
        axes.annotate(
            str(number),
            means[number],
            xytext=(across, up),
            textcoords="offset points",
            ha="center",
            va="center",
            arrowprops=None if math.hypot(across, up) < FAR else LEADER,
            path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
        ).set_in_layout(False)


def room(x: float, y: float, frame: Bbox, taken: Sequence[Bbox]) -> tuple[float, float]:
    """The nearest offset from a point at which a number stands inside the frame and on nothing that is taken."""
    for across, up in offsets():
        box = around(x + across, y + up, *NUMBER)
        inside = frame.contains(*box.min) and frame.contains(*box.max)
        if inside and not any(box.overlaps(other) for other in taken):
            return across, up
    return next(offsets())


def offsets() -> Iterator[tuple[float, float]]:
    """Offsets in points, ever farther, first to the upper right."""
    for radius in range(14, 140, 9):
        for turn in range(16):
            angle = math.pi / 4 + turn * math.pi / 8
            yield radius * math.cos(angle), radius * math.sin(angle)


def around(x: float, y: float, width: float, height: float) -> Bbox:
    """A box around a point."""
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
