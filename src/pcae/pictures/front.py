"""A picture of what was tried: accuracy against speed, with what nothing beats marked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pcae.pictures.figures import COLOURS, chart, save

Point = tuple[float, float]
"""Times as fast as the whole model, and the share of right answers."""


def on_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in speed and accuracy, slowest first."""
    found: list[Point] = []
    for point in sorted(points, reverse=True):
        if not found or point[1] > found[-1][1]:
            found.append(point)
    return found[::-1]


def draw_front(path: Path, tried: Mapping[str, Sequence[Point]], chosen: Point, what: str) -> None:
    """Write a picture: a colour for each kind of rule, the front as a line, a ring around the chosen one."""
    figure, axes = chart(7.0, 4.4)
    for (name, points), colour in zip(tried.items(), COLOURS, strict=False):
        speeds, shares = zip(*points, strict=True)
        axes.plot(speeds, [100 * share for share in shares], "o", color=colour, label=name, markersize=5)
    front = on_front([point for points in tried.values() for point in points])
    axes.plot(
        [speed for speed, _ in front], [100 * share for _, share in front], "-", color="0.6", zorder=0, label="front"
    )
    axes.plot(chosen[0], 100 * chosen[1], "o", mfc="none", mec="black", markersize=13, label="chosen")
    axes.set(xlabel="times as fast as the whole model, measured", ylabel=f"{what} in %")
    axes.set_title("what was tried", loc="left")
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", frameon=False, fontsize=8)
    save(figure, path)
