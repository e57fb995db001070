"""Windowed attention: a block sees a map of tokens window by window."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor
from torch.nn import functional as F

from pcae.model.backbones.backbone import Call, Calling
from pcae.model.tokens import Grid


@dataclass(frozen=True)
class WindowedCall(Call):
    """Runs blocks, all but `global_blocks` in windows, over whole token maps of one grid.

    A map that the window does not divide is padded at the right and at the bottom with zeros; they take part in
    attention, as in ViTDet, so that fused attention needs no mask, and are dropped afterwards.
    """

    whole: Call
    inside: Call
    grid: Grid
    sides: tuple[int, int]
    global_blocks: tuple[int, ...]

    def __call__(self, index: int, block: Any, sequence: Float[Tensor, "batch tokens dim"]) -> Tensor:
        """The block's output for a whole map of tokens, row by row."""
        if index in self.global_blocks:
            return self.whole(index, block, sequence)
        windows = into_windows(sequence, self.grid, self.sides)
        return out_of_windows(self.inside(index, block, windows), self.grid, self.sides)


def in_windows(calling: Calling, grid: Grid, window: int, global_blocks: tuple[int, ...]) -> Calling:
    """What runs blocks, all but `global_blocks` in windows of `window` x `window` tokens, without prefix.

    A window is never larger than the grid: there it is global attention. Where blocks take positions beside tokens, the
    tokens of every window, and what pads it, have those of the first one: blocks look at differences of positions
    alone, so that an offset counts as much as it does in the whole image. Once tokens were dropped, no window is left.
    """
    sides = min(window, grid[0]), min(window, grid[1])

    def windowed(ids: Int[Tensor, "batch tokens"], n_prefix: int, n_appended: int, added: Tensor | None = None) -> Call:
        whole = calling(ids, n_prefix, n_appended, added)
        if ids.shape[1] < grid[0] * grid[1]:
            return whole
        places = torch.arange(grid[0] * grid[1], device=ids.device).view(grid)[: sides[0], : sides[1]]
        return WindowedCall(whole, calling(places.reshape(1, -1), 0, 0, None), grid, sides, global_blocks)

    return windowed


def into_windows(
    tokens: Float[Tensor, "batch tokens dim"], grid: Grid, sides: tuple[int, int]
) -> Float[Tensor, "windows inside dim"]:
    """A token map cut into windows of `sides` (height, width in tokens), zeros at the right and bottom edge.

    Windows of an image stand in a row, line by line, as do the tokens in each.
    """
    below, right = -grid[0] % sides[0], -grid[1] % sides[1]
    dense = F.pad(tokens.unflatten(1, grid), (0, 0, 0, right, 0, below))
    return window_partition(dense, sides).flatten(1, 2)


def out_of_windows(
    windows: Float[Tensor, "windows inside dim"], grid: Grid, sides: tuple[int, int]
) -> Float[Tensor, "batch tokens dim"]:
    """The token map of which `into_windows` made these, without what it padded."""
    height, width = (length + -length % side for length, side in zip(grid, sides, strict=True))
    dense = window_reverse(windows, sides, height, width)
    return dense[:, : grid[0], : grid[1]].flatten(1, 2)
