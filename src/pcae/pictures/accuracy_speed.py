"""A picture of what speed costs in accuracy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pcae.pictures.figures import COLOURS, chart, save


def draw_curve(
    path: Path, drop_ratios: Sequence[float], accuracies: Sequence[float], speeds: Mapping[str, Sequence[float]]
) -> None:
    """Write a picture: accuracy (shares) against speed relative to the first ratio, a line for each kind of speed."""
    figure, axes = chart(6.4, 4.2)
    styles = zip(speeds.items(), COLOURS, ("o-", "s--"), (7, -13), strict=False)
    for (name, speed), colour, style, above in styles:
        relative = [value / speed[0] for value in speed]
        axes.plot(relative, [100 * value for value in accuracies], style, color=colour, label=name, markersize=5)
        for place, ratio in enumerate(drop_ratios):
            axes.annotate(
                f"{ratio:g}",
                (relative[place], 100 * accuracies[place]),
                textcoords="offset points",
                xytext=(0, above),
                ha="center",
                fontsize=8,
                color=colour,
            )
    axes.set(xlabel=f"images per second, relative to drop ratio {drop_ratios[0]:g}", ylabel="top-1 accuracy in %")
    axes.set_title("accuracy and speed by drop ratio", loc="left")
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", frameon=False)
    save(figure, path)
