"""A picture of numbers by name."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from pcae.pictures.accuracy_speed import COLOURS
from pcae.writing import in_one_move


def draw_bars(path: Path, title: str, values: Mapping[str, float], axis: str) -> None:
    """Write a bar for each name, the first on top, with its number; the format is the suffix's."""
    figure = Figure(figsize=(7.5, 1.4 + 0.34 * len(values)), dpi=150, layout="constrained")
    panel = figure.subplots()
    bars = panel.barh([*values], [*values.values()], color=COLOURS[0])
    panel.bar_label(bars, fmt="%.2f", padding=3)
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.set_xlabel(axis)
    panel.set_title(title, fontsize="medium")
    with in_one_move(path) as beside:
        figure.savefig(beside, format=path.suffix.removeprefix("."))
