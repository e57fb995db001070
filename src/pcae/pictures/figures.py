"""What all pictures share: their colours, how charts begin, how labels are cut short, how figures become files."""

import warnings
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcae.writing import in_one_move

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Blue, vermilion and so on of Okabe and Ito, which colour-blind readers tell apart; yellow is too pale for lines."""


def chart(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches and its axes."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    return figure, figure.subplots()


def short(label: str, most: int = 40) -> str:
    """A label, or the beginning of a long one."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def save(figure: Figure, *paths: Path, **options: Any) -> None:
    """Write a figure to files, each in one move and in the format of its suffix."""
    with warnings.catch_warnings():  # letters that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        for path in paths:
            with in_one_move(path) as beside:
                figure.savefig(beside, format=path.suffix.removeprefix("."), **options)
