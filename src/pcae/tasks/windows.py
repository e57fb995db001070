"""Windowed attention: a block sees a map of tokens window by window."""

from collections.abc import Sequence

from jaxtyping import Float
from timm.models.swin_transformer import window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.tokens import Grid


class WindowedBlock(nn.Module):
    """A block whose tokens see only those of their own window, for token maps of one grid.

    It has no weights beside the block's and is made anew for each grid. A map that the window does not divide is padded
    at the right and at the bottom with zeros; they take part in attention, as in ViTDet, so that fused attention needs
    no mask, and are dropped afterwards. A window is never larger than the grid: there it is global attention.
    """

    def __init__(self, block: nn.Module, grid: Grid, window: int) -> None:
        super().__init__()
        self.block, self.grid = block, grid
        self.sides = min(window, grid[0]), min(window, grid[1])

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The block's output for a whole map of tokens, row by row."""
        return out_of_windows(self.block(into_windows(tokens, self.grid, self.sides)), self.grid, self.sides)


def windowed(blocks: Sequence[nn.Module], grid: Grid, window: int, global_blocks: tuple[int, ...]) -> list[nn.Module]:
    """The blocks, all but `global_blocks` in windows of `window` x `window` tokens."""
    return [
        block if index in global_blocks else WindowedBlock(block, grid, window) for index, block in enumerate(blocks)
    ]


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
