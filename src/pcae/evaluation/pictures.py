"""Pictures of what a reduction keeps, stage by stage (Figure 2)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from pcae.model.tokens import Grid, present

BLANK = (214, 220, 230)
"""Colour of patches that are not there: pale, so that it is neither black nor white content."""


def blank_out(
    images: UInt8[Tensor, "batch channels height width"], ids: Int[Tensor, "batch kept"], grid: Grid
) -> UInt8[Tensor, "batch height width 3"]:
    """The images as RGB with every patch that `ids` does not name painted over."""
    rgb = images[:, :3].expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    there = present(ids, grid)
    for axis, sides in ((1, images.shape[2] // grid[0]), (2, images.shape[3] // grid[1])):
        there = there.repeat_interleave(sides, dim=axis)
    return torch.where(there[..., None], rgb, torch.tensor(BLANK, dtype=torch.uint8))


def draw_stages(
    path: Path,
    images: UInt8[Tensor, "batch channels height width"],
    columns: Sequence[tuple[str, Int[Tensor, "batch _"]]],
    grid: Grid,
) -> None:
    """Write a picture: a row an image, a column for the whole image and for each (title, ids that are there)."""
    everything = torch.arange(grid[0] * grid[1]).expand(len(images), -1)
    panels = [("image", everything), *columns]
    figure = Figure(figsize=(1.5 * len(panels), 1.35 * len(images) + 0.3), dpi=150, layout="constrained")
    axes = np.asarray(figure.subplots(len(images), len(panels), squeeze=False))
    for column, (title, ids) in enumerate(panels):
        axes[0, column].set_title(title, fontsize=10)
        for row, picture in enumerate(blank_out(images, ids, grid)):
            axes[row, column].imshow(picture.numpy(), interpolation="nearest")
            axes[row, column].set_axis_off()
    figure.savefig(path)
