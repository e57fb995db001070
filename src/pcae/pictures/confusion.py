"""A picture of which classes are taken for which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from torch import Tensor

from pcae.pictures.figures import chart, save, short

MOST_NAMES = 40
"""Classes up to which each row and column is named."""
MOST_LETTERS = 24
"""Letters of a name that are shown."""
MOST_NUMBERS = 20
"""Classes up to which each cell says how many."""


def draw_confusion(path: Path, confusion: Int[Tensor, "classes classes"], classes: Sequence[str]) -> None:
    """Write a picture of the confusion matrix: a row a true class, shares of the row as colour, counts as numbers."""
    counts = confusion.numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(classes) <= MOST_NAMES
    side = max(4.5, 2.5 + (0.42 if len(classes) <= MOST_NUMBERS else 0.24) * min(len(classes), MOST_NAMES))
    figure, axes = chart(side + 1.2, side)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.8)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"{np.trace(counts) / max(counts.sum(), 1):.1%} of {counts.sum():,} images right", loc="left")
    if named:
        names = [short(plain(name), MOST_LETTERS) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(len(classes)), names, fontsize=8)
    if len(classes) <= MOST_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    save(figure, path)


def plain(name: str) -> str:
    """A class's name, with odd characters that no font has made plain."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("$", r"\$")
