"""Windowed attention: a block sees a map of tokens window by window."""

from collections.abc import Sequence

from jaxtyping import Float
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
    batch, _, dim = tokens.shape
    below, right = -grid[0] % sides[0], -grid[1] % sides[1]
    dense = F.pad(tokens.reshape(batch, *grid, dim), (0, 0, 0, right, 0, below))
    rows, columns = dense.shape[1] // sides[0], dense.shape[2] // sides[1]
    cut = dense.reshape(batch, rows, sides[0], columns, sides[1], dim).transpose(2, 3)
    return cut.reshape(batch * rows * columns, sides[0] * sides[1], dim)


def out_of_windows(
    windows: Float[Tensor, "windows inside dim"], grid: Grid, sides: tuple[int, int]
) -> Float[Tensor, "batch tokens dim"]:
    """The token map of which `into_windows` made these, without what it padded."""
    rows, columns = -(-grid[0] // sides[0]), -(-grid[1] // sides[1])
    cut = windows.reshape(-1, rows, columns, *sides, windows.shape[-1]).transpose(2, 3)
    dense = cut.reshape(cut.shape[0], rows * sides[0], columns * sides[1], -1)
    return dense[:, : grid[0], : grid[1]].flatten(1, 2)
