"""Curves of a run as small pictures that stand inside a page: SVG whose text is text and whose width is the page's."""

import io
import re
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from pcae.evaluation.run_metrics import Curve
from pcae.pictures.figures import COLOURS

STYLES = ("-", "--", ":")
FEW = 30
"""Points up to which each is marked."""
LOG_FROM = 100
"""Ratio of the largest to the smallest value from which on a curve that may have a logarithmic axis gets one."""


def draw_curves(
    curves: Mapping[str, Curve], name: str, *, share: bool = False, log: bool = False, floor: bool = False
) -> str | None:
    """Curves by step as an <svg> for a page, each with its name where there are several; None for nothing finite.

    name: what ids in the picture begin with, so that pictures of one page do not share any. share: values are shares
    and shown in per cent. log: a logarithmic axis where values differ much. floor: the axis begins at 0. A point of
    several values has its mean drawn, and a band from the least to the largest.
    """
    drawn = {label: curve for label, curve in curves.items() if len(curve.finite)}
    if not drawn:
        return None
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}):
        figure = Figure(figsize=(4.0, 2.4), layout="constrained")
        axes = figure.subplots()
        for (label, curve), colour, style in zip(drawn.items(), COLOURS, STYLES, strict=False):
            draw_curve(axes, label, curve, colour, style)
        label_axes(axes, share, log and spans(drawn))
        if floor:
            low, high = axes.get_ylim()
            axes.set_ylim(min(0.0, low), high + 0.05 * abs(high))
        if len(drawn) > 1:
            axes.legend(loc="best", frameon=False, fontsize=9)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    return for_page(file.getvalue(), name)


def draw_curve(axes: Axes, label: str, curve: Curve, colour: str, style: str) -> None:
    """The means as a line, and what lies around them as a band."""
    points = curve.points()
    marker = "o" if len(points.steps) <= FEW else ""
    axes.plot(points.steps, points.means, style, color=colour, label=label, marker=marker, ms=3)
    if curve.width > 1:
        there = np.isfinite(points.means)
        across, lows, highs = (part[there] for part in (points.steps, points.lows, points.highs))
        axes.fill_between(across, lows, highs, color=colour, alpha=0.25, linewidth=0)


def spans(curves: Mapping[str, Curve]) -> bool:
    """Whether all values are positive and differ so much that only a logarithmic axis shows them all."""
    means = np.concatenate([curve.points().means for curve in curves.values()])
    least = min(curve.finite.min() for curve in curves.values())
    return bool(least > 0 and LOG_FROM * np.nanmin(means) < np.nanmax(means))


def label_axes(axes: Axes, share: bool, log: bool) -> None:
    """Few ticks with short numbers: the picture is as wide as a phone."""
    axes.set_xlabel("step")
    first, last = axes.get_xlim()
    if last - first < 1:  # a single step, which is a whole number
        axes.set_xlim(round(first) - 1, round(first) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(LogFormatter())
    elif share:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 4))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def for_page(svg: str, name: str) -> str:
    """The <svg> alone: without sizes, so that it is as wide as its place, without addresses, ids begun with `name`."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, end, rest = svg.partition(">")
    head = re.sub(r' (?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", head)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", head + end + rest)
