"""Pictures of what a reduction keeps, stage by stage (Figures 2 and 4)."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from pcae.evaluation.kept import Kept, Way
from pcae.model.tokens import Grid, present
from pcae.pictures.figures import save
from pcae.pictures.heat import BLANK, Scale, heat, palette

DPI = 300
"""Pixels of a PNG for an inch."""
SIDE, LEAST = 448, 1.4
"""Longer side of a panel in pixels, about; and the least width in inches that a title fits into."""
GAP, BREAK, LINE, EDGE = 0.08, 0.25, 0.19, 0.06
"""Inches between panels and between groups of them, of a line of a title, around everything."""
LABEL, BAR = 0.35, 1.85
"""Inches for the names of rows on the left, for a scale on the right."""
NAMED = 0.85
"""Inches of height that a row's name and the words of a scale take."""
FONT = 11
"""Points of titles; numbers have one less."""
FRAME = "#8a93a3"


@dataclass(frozen=True)
class Panel:
    """A small picture: any number of pixels, shown as large as all others."""

    title: str
    pixels: UInt8[Tensor, "height width 3"]


@dataclass(frozen=True)
class Row:
    """Panels side by side, None where there is nothing, what stands to their left, and the scale of their colours."""

    panels: Sequence[Panel | None]
    label: str = ""
    scale: Scale | None = None


def to_rgb(images: UInt8[Tensor, "batch channels height width"]) -> UInt8[Tensor, "batch height width 3"]:
    """The first three channels as colours; fewer are gray."""
    shown = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return shown.permute(0, 2, 3, 1)


def blank_out(
    images: UInt8[Tensor, "batch channels height width"], ids: Int[Tensor, "batch kept"], grid: Grid
) -> UInt8[Tensor, "batch height width 3"]:
    """The images as RGB with every patch that `ids` does not name painted over."""
    there = present(ids, grid)
    for axis, sides in ((1, images.shape[2] // grid[0]), (2, images.shape[3] // grid[1])):
        there = there.repeat_interleave(sides, dim=axis)
    return torch.where(there[..., None], to_rgb(images), torch.tensor(BLANK, dtype=torch.uint8))


def stage_panels(
    images: UInt8[Tensor, "batch channels height width"],
    columns: Sequence[tuple[str, Int[Tensor, "batch _"]]],
    grid: Grid,
) -> list[list[Panel]]:
    """For each image the whole of it and a panel for each (title, ids that are there), with their number."""
    panels = [[Panel("image", picture) for picture in to_rgb(images)]]
    for title, ids in columns:
        counted = f"{title}\n{ids.shape[1]} patches" if ids.shape[1] > 1 else f"{title}\n1 patch"
        panels.append([Panel(counted, picture) for picture in blank_out(images, ids, grid)])
    return [list(row) for row in zip(*panels, strict=True)]


def heat_panels(way: Way, kept: Kept, scale: Scale, grid: Grid, image: int) -> list[Panel | None]:
    """For each stage the scores of all that it saw of an image, in the columns of `stage_panels`."""
    before: list[Panel | None] = [None] * (1 if way.first is None else 2)
    maps = [
        Panel(f"after block {stage.block}\n{stage.ids.shape[1]} scored", heat(stage, scale, grid)[image])
        for stage in kept.stages
    ]
    return [*before, *maps]


def draw_stages(
    path: Path,
    images: UInt8[Tensor, "batch channels height width"],
    columns: Sequence[tuple[str, Int[Tensor, "batch _"]]],
    grid: Grid,
) -> None:
    """Write a picture: a row an image, a column for the whole image and for each (title, ids that are there).

    More than a dozen images stand in two groups side by side.
    """
    panels = stage_panels(images, columns, grid)
    half = len(panels) if len(panels) <= 12 else -(-len(panels) // 2)
    pairs = [[panel for group in panels[row::half] for panel in group] for row in range(half)]
    rows = [Row(pairs[0]), *(Row([Panel("", panel.pixels) for panel in pair]) for pair in pairs[1:])]
    draw_rows([path], rows, (images.shape[2], images.shape[3]), group=len(columns) + 1)


def draw_rows(paths: Sequence[Path], rows: Sequence[Row], size: tuple[int, int], group: int | None = None) -> None:
    """Write rows of panels of `size` (height, width) to files, in the formats of their suffixes.

    group: panels that stand close together; without it, all of a row.
    """
    figure = laid_out(rows, size, group or max(len(row.panels) for row in rows))
    for path in paths:
        save_stages(figure, path)


def laid_out(rows: Sequence[Row], size: tuple[int, int], group: int) -> Figure:
    """The figure of rows of panels."""
    board = Board(rows, size, group)
    figure = Figure(figsize=(board.width, board.height), dpi=DPI)
    top = board.height - EDGE
    for row in rows:
        top -= board.lines(row) * LINE
        draw_row(figure, board, row, top)
        top -= board.tall(row) + GAP
    return figure


@dataclass(frozen=True)
class Board:
    """Where everything stands, in inches, so that panels are as large as each other and have whole pixels."""

    rows: Sequence[Row]
    size: tuple[int, int]
    group: int

    @property
    def panel(self) -> tuple[float, float]:
        """Width and height of a panel: a whole multiple of the image's pixels where there are not too many."""
        longer = max(self.size)
        zoom = max(1, round(SIDE / longer)) if longer <= 1.5 * SIDE else SIDE / longer
        return self.size[1] * zoom / DPI, self.size[0] * zoom / DPI

    @property
    def cell(self) -> float:
        """Width that a panel takes."""
        return max(self.panel[0], LEAST) + GAP

    @property
    def left(self) -> float:
        """Where the panels begin."""
        return EDGE + (LABEL if any(row.label for row in self.rows) else 0)

    @property
    def width(self) -> float:
        """Of the figure, in whole pixels."""
        columns = max(len(row.panels) for row in self.rows)
        bar = BAR if any(row.scale for row in self.rows) else 0
        return math.ceil((self.x(columns - 1) + self.cell + bar + EDGE) * DPI) / DPI

    @property
    def height(self) -> float:
        """Of the figure, in whole pixels."""
        rows = sum(self.lines(row) * LINE + self.tall(row) + GAP for row in self.rows)
        return math.ceil((2 * EDGE + rows - GAP) * DPI) / DPI

    def x(self, column: int) -> float:
        """Left side of a panel's cell."""
        return self.left + column * self.cell + column // self.group * BREAK

    def tall(self, row: Row) -> float:
        """Height of a row below its titles."""
        return max(self.panel[1], NAMED if row.label else 0)

    def lines(self, row: Row) -> int:
        """Lines of the row's titles."""
        return max(len(panel.title.splitlines()) if panel else 0 for panel in row.panels)

    def place(self, column: int, top: float) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel as shares of the figure, at whole pixels."""
        left = self.x(column) + (self.cell - self.panel[0]) / 2
        left, bottom = (round(value * DPI) / DPI for value in (left, top - self.panel[1]))
        return left / self.width, bottom / self.height, self.panel[0] / self.width, self.panel[1] / self.height


def draw_row(figure: Figure, board: Board, row: Row, top: float) -> None:
    """Draw the panels of a row, its name and its scale."""
    for column, panel in enumerate(row.panels):
        if panel is not None:
            draw_panel(figure.add_axes(board.place(column, top)), panel)
    if row.label:
        middle = (top - board.tall(row) / 2) / board.height
        at = (EDGE + LABEL / 2) / board.width
        figure.text(at, middle, row.label, rotation=90, ha="center", va="center", fontsize=FONT)
    if row.scale:
        left, bottom = board.x(len(row.panels) - 1) + board.cell, top - board.tall(row)
        sides = (left / board.width, bottom / board.height, 0.12 / board.width, board.tall(row) / board.height)
        draw_scale(figure, figure.add_axes(sides), row.scale)


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw pixels in a thin frame, so that blank patches at the edge have an end."""
    axes.imshow(panel.pixels.numpy(), aspect="auto", interpolation="antialiased")
    axes.set_title(panel.title, fontsize=FONT, pad=3, linespacing=1.05)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(linewidth=0.6, color=FRAME)


def draw_scale(figure: Figure, axes: Axes, scale: Scale) -> None:
    """Draw a labelled bar of colours; those at its ends stand for values beyond, too."""
    shades = ScalarMappable(Normalize(scale.low, scale.high), ListedColormap(palette().numpy() / 255))
    bar = figure.colorbar(shades, cax=axes, extend="both", extendfrac=0.04)
    words = textwrap.fill(scale.label, 10)
    bar.set_label(words, fontsize=FONT - 1, rotation=0, ha="left", va="center", labelpad=6)
    bar.ax.tick_params(labelsize=FONT - 1)
    bar.ax.locator_params(nbins=4)


def save_stages(figure: Figure, path: Path) -> None:
    """Write the figure in one move. In an SVG pixels stay the image's own and text stays text."""
    svg = path.suffix == ".svg"
    for image in (found for axes in figure.axes for found in axes.images):
        image.set_interpolation("none" if svg else "antialiased")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pcae"}):
        save(figure, path, metadata={"Date": None} if svg else {})
