"""Pictures of whether pre-training is worth it: accuracies with intervals, and by seconds of training."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from pcae.pictures.figures import COLOURS, short
from pcae.pictures.run_curves import STYLES, for_page

MARKS = "os^"
THIN: dict[str, Any] = {"ms": 4, "lw": 1, "capsize": 2}
TEXT: Any = {"svg.fonttype": "none", "font.size": 9}
"""Text stays text."""
Estimate = Mapping[str, float]
"""A share (mean) and half its interval (half)."""


def drawn(figure: Figure, name: str) -> str:
    """A figure as an <svg> for a page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return for_page(file.getvalue(), name)


def draw_shares(rows: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Accuracies by row and by measure, the first row on top, each with its interval, as an <svg> for a page."""
    with matplotlib.rc_context({**TEXT, "svg.hashsalt": "shares"}):
        figure = Figure(figsize=(5.4, 0.9 + 0.5 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for number, measure in enumerate(dict.fromkeys(name for own in rows.values() for name in own)):
            there = [(place, own[measure]) for place, own in enumerate(rows.values()) if measure in own]
            across, halves = [one["mean"] for _, one in there], [one["half"] for _, one in there]
            down = [place + 0.2 * (number - 1) for place, _ in there]
            axes.errorbar(across, down, xerr=halves, fmt=MARKS[number], color=COLOURS[number], label=measure, **THIN)
        axes.set_yticks(range(len(rows)), [short(name, 34) for name in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("right, of the held-out images")
        plain(axes)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
        return drawn(figure, "shares")


def draw_learning(curves: Mapping[str, Sequence[tuple[float, Estimate]]]) -> str | None:
    """Accuracies by seconds of pre-training, each point a run of its own, as an <svg>; None where there are none."""
    there = {name: points for name, points in curves.items() if points}
    if not there:
        return None
    with matplotlib.rc_context({**TEXT, "svg.hashsalt": "learning"}):
        figure = Figure(figsize=(5.4, 2.8), layout="constrained")
        axes = figure.subplots()
        for number, (name, points) in enumerate(there.items()):
            seconds, shares = [one for one, _ in points], [one["mean"] for _, one in points]
            colour, style = COLOURS[number % len(COLOURS)], f"o{STYLES[number % len(STYLES)]}"
            halves, label = [one["half"] for _, one in points], short(name, 40)
            axes.errorbar(seconds, shares, yerr=halves, fmt=style, color=colour, label=label, **THIN)
        by_seconds(axes, [one for points in there.values() for one, _ in points])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        plain(axes)
        axes.legend(loc="best", frameon=False)
        return drawn(figure, "learning")


def by_seconds(axes: Axes, seconds: Sequence[float]) -> None:
    """A logarithmic axis, with ticks at points."""
    ticks = apart(sorted({round(one, 1) for one in seconds}))
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("seconds of pre-training")


def apart(ticks: Sequence[float]) -> list[float]:
    """The ticks that stand far enough from one another."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick > 1.4 * kept[-1]:
            kept.append(tick)
    return kept


def plain(axes: Axes) -> None:
    """A grid, and no frame."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
