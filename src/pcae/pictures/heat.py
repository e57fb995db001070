"""Scores of redundancy -> colours, on one scale for all images and stages."""

from collections.abc import Iterable
from typing import NamedTuple

import matplotlib
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from pcae.evaluation.kept import Kept
from pcae.model.blocks import Stage
from pcae.model.tokens import Grid, put_back

BLANK = (214, 220, 230)
"""Colour of patches that are not there: pale, so that it is neither black nor white content nor a score."""
MAP = "viridis"
"""Colours that colour-blind readers and gray printers keep in order."""
LEVELS = 64
"""Steps between the ends of the scale."""


class Scale(NamedTuple):
    """What is measured, and the values that have the first and the last colour; those beyond have them too."""

    label: str
    low: float
    high: float


def scale_of(label: str, kept: Iterable[Kept]) -> Scale:
    """A scale from the 5th to the 95th percentile of all scores, which a few odd tokens do not stretch."""
    scores = torch.cat([stage.scores.flatten().double() for one in kept for stage in one.stages])
    ordered = scores[scores.isfinite()].sort().values
    low, high = (float(ordered[round(share * (len(ordered) - 1))]) for share in (0.05, 0.95))
    return Scale(label, low, max(high, low + 1e-6))


def levels(stage: Stage, scale: Scale) -> Int[Tensor, "images tokens"]:
    """The step on the scale of every token that the stage saw, in [0, LEVELS)."""
    share = (stage.scores.nan_to_num() - scale.low) / (scale.high - scale.low)
    return (share * LEVELS).long().clamp(0, LEVELS - 1)


def palette() -> UInt8[Tensor, "levels 3"]:
    """The colours of the scale."""
    shares = (torch.arange(LEVELS) + 0.5) / LEVELS
    return torch.from_numpy(matplotlib.colormaps[MAP](shares.numpy(), bytes=True)[:, :3])


def heat(stage: Stage, scale: Scale, grid: Grid) -> UInt8[Tensor, "images rows columns 3"]:
    """A pixel a patch: the colour of its score, blank where an earlier stage dropped it."""
    colours = torch.cat([torch.tensor([BLANK], dtype=torch.uint8), palette()])
    dense = put_back(levels(stage, scale)[..., None] + 1, stage.ids, grid)
    return colours[dense[:, 0]]
