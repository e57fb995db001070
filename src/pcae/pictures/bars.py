"""A picture of numbers by name."""

from collections.abc import Mapping
from pathlib import Path

from pcae.pictures.figures import COLOURS, chart, save


def draw_bars(path: Path, title: str, values: Mapping[str, float], axis: str) -> None:
    """Write a bar for each name, the first on top, with its number; the format is the suffix's."""
    figure, panel = chart(7.5, 1.4 + 0.34 * len(values))
    bars = panel.barh([*values], [*values.values()], color=COLOURS[0])
    panel.bar_label(bars, fmt="%.2f", padding=3)
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.set_xlabel(axis)
    panel.set_title(title, fontsize="medium")
    save(figure, path)
