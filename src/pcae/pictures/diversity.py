"""Pictures of diversity by layer, as in Figure 3, and of what is dropped and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pcae.evaluation.claims import DISTANCES, Values, counts_of
from pcae.evaluation.estimates import estimate
from pcae.pictures.figures import COLOURS, chart, save, short

HOLLOW = 10
"""From this size on, markers are empty, so that others are seen behind them."""
STYLES = {"ptr": ("-", "o", 5), "random": ("--", "s", 5), "sampled": ("-.", "^", HOLLOW), "none": (":", "D", 5)}
"""Line, marker and its size of each kind of dropping; `sampled` lies on `random` where only their number matters."""
NAMES = {"ptr": "PTR", "random": "random drop", "sampled": "no drop, as few measured", "none": "no drop"}
ENDINGS = (".png", ".svg")
LETTERS = 95
"""Letters of the legend that fit beside each other, with a line of 8 before each name."""


@dataclass(frozen=True)
class Line:
    """The diversities of a model under a kind of dropping."""

    label: str
    dropping: str
    values: Float[Tensor, "seeds images layers"]


def draw_diversity(path: Path, lines: Sequence[Line]) -> None:
    """Write Figure 3 as .png and .svg: a line a model and kind of dropping; bands are one standard error."""
    labels = list(dict.fromkeys(line.label for line in lines))
    names = [
        NAMES[line.dropping] if len(labels) == 1 else f"{short(line.label)}, {NAMES[line.dropping]}" for line in lines
    ]
    columns = min(3, max(1, LETTERS // (max(map(len, names)) + 8)))
    figure, axes = chart(7.2, 4.2 + 0.25 * -(-len(lines) // columns))
    for line, name in zip(lines, names, strict=True):
        key = labels.index(line.label) if len(labels) > 1 else list(STYLES).index(line.dropping)
        draw_line(axes, range(line.values.shape[-1]), line.values, COLOURS[key % len(COLOURS)], line.dropping, name)
    axes.set(xlabel="layer (0: what enters the blocks)", ylabel="nuclear norm of the tokens / N")
    title = f"diversity of tokens: {short(labels[0])}" if len(labels) == 1 else "diversity of tokens"
    axes.set_title(title, loc="left", parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    legend = figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save(figure, *(path.with_suffix(ending) for ending in ENDINGS))


def draw_line(
    axes: Axes,
    across: Sequence[float] | range,
    values: Float[Tensor, "seeds images points"],
    colour: str,
    how: str,
    name: str,
) -> None:
    """A line of means, and a band of one standard error."""
    found = [estimate(values[..., point]) for point in range(values.shape[-1])]
    means, (style, marker, size) = [one.mean for one in found], STYLES[how]
    face = "none" if size >= HOLLOW else colour
    axes.plot(across, means, style, marker=marker, color=colour, label=name, markersize=size, markerfacecolor=face)
    low, high = ([one.mean + sign * one.error for one in found] for sign in (-1, 1))
    axes.fill_between(across, low, high, color=colour, alpha=0.15, linewidth=0)


def draw_claims(path: Path, models: Mapping[str, tuple[Values, int]]) -> None:
    """Write sections 3.2 and 3.3 as .png and .svg, a row a model: values of `examine` and the number of patches.

    The shift of the mean at the first stage; the spectra of the patches that are left in the end, of all and of those
    dropped first; how far apart the survivors lie.
    """
    figure = Figure(figsize=(10.5, 3.6 * len(models)), dpi=150, layout="constrained")
    panels = figure.subplots(len(models), 3, squeeze=False)
    for row, (label, (values, tokens)) in zip(panels, models.items(), strict=True):
        draw_shift(row[0], values, tokens)
        draw_spectra(row[1], values)
        draw_spread(row[2], values)
        row[0].set_title(short(label), loc="left", parse_math=False)
    save(figure, *(path.with_suffix(ending) for ending in ENDINGS))


def draw_kinds(
    axes: Axes, across: Sequence[float] | range, kinds: Mapping[str, Float[Tensor, "seeds images points"]]
) -> None:
    """A line for each kind of patches, by its name: those that the method chose, others, and the opposite."""
    for (name, values), colour, how in zip(kinds.items(), COLOURS, ("ptr", "random", "none"), strict=False):
        draw_line(axes, across, values, colour, how, name)


def draw_shift(axes: Axes, values: Values, tokens: int) -> None:
    """How far the mean moves at the first stage, by the share that is dropped."""
    kinds = {"most similar dropped (PTR)": "ptr", "random drop": "random", "least similar dropped": "reversed"}
    moved = {words: values[f"shift of the mean, {name}"][:, :, 0] for words, name in kinds.items()}
    draw_kinds(axes, [1 - count / tokens for count in counts_of(tokens)], moved)
    axes.set(xlabel="share of the tokens dropped, first stage", ylabel="shift of the mean / its length")
    finish(axes)


def draw_spectra(axes: Axes, values: Values) -> None:
    """Energy of patches by frequency; nothing where patches have one pixel."""
    kinds = (("kept by all stages", "kept", -1), ("all (random, expected)", "all", 0), ("dropped first", "dropped", 0))
    energies = {words: values[f"spectrum, {name}"][:, :, stage, 1:] for words, name, stage in kinds}
    draw_kinds(axes, range(1, values["spectrum, all"].shape[-1]), energies)
    if values["energy, all"].any():  # a logarithm of nothing warns
        axes.set_yscale("log")
    axes.set(xlabel="frequency, cycles a patch", ylabel="energy of the pixels")
    finish(axes)


def draw_spread(axes: Axes, values: Values) -> None:
    """How far apart survivors lie: a group of bars for each kind of distance."""
    groups = (("stages", "all stages"), ("one stage", "one stage"), ("random", "random drop"))
    for place, ((name, words), colour) in enumerate(zip(groups, COLOURS, strict=False)):
        found = [estimate(values[f"{kind}, {name}"]) for kind in DISTANCES]
        across = [index + 0.27 * (place - 1) for index in range(len(DISTANCES))]
        bars = axes.bar(across, [one.mean for one in found], 0.25, yerr=[one.error for one in found], color=colour)
        bars.set_label(words)
        axes.bar_label(bars, fmt="%.2f", fontsize=9, padding=2)
    axes.set_xticks(range(len(DISTANCES)), ["two survivors", "nearest survivor"])
    axes.set_ylabel("mean distance in patches")
    axes.margins(y=0.25)
    finish(axes)


def finish(axes: Axes) -> None:
    """Grid and legend of a panel."""
    axes.grid(alpha=0.3)
    axes.legend(loc="best", frameon=False, fontsize=9)
