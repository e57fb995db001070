"""Drop path (stochastic depth) whose randomness is that of the rows, not of the process that computes them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.model.backbones import ViT


class DropPath(nn.Module):
    """Leaves a residual branch out for the images whose `noise` is below `rate`, and scales it up for the others.

    noise: uniform in [0, 1), one an image; it stays until the next step, since blocks may be computed again in the
    backward pass. Windows of an image, which stand in a row, share its noise. Outside of training, and before the first
    step, every branch is left as it is.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.noise: Float[Tensor, " batch"] | None = None

    def forward(self, branch: Float[Tensor, "rows tokens dim"]) -> Float[Tensor, "rows tokens dim"]:
        """The branch, or zeros."""
        if self.noise is None or not self.training:
            return branch
        factor = (self.noise >= self.rate) / (1 - self.rate)
        assert branch.shape[0] % factor.shape[0] == 0
        factor = factor.repeat_interleave(branch.shape[0] // factor.shape[0])
        return branch * factor.view(-1, 1, 1).to(branch.dtype)


def install_drop_path(vit: ViT, rate: float) -> list[DropPath]:
    """Give both branches of every block a rate that climbs from 0 to `rate` with the depth; names of weights stay.

    Raises ValueError for blocks that have no such two branches.
    """
    odd = next((type(block).__name__ for block in vit.blocks if not hasattr(block, "drop_path2")), None)
    if odd:
        raise ValueError(f"drop_path is for blocks of two branches, not {odd}; use --drop-path 0")
    paths = []
    for block, its_rate in zip(vit.blocks, torch.linspace(0, rate, len(vit.blocks)).tolist(), strict=True):
        for name in ("drop_path1", "drop_path2"):
            paths.append(DropPath(its_rate))
            setattr(block, name, paths[-1])
    return paths


def draw_paths(paths: list[DropPath], noise: Float[Tensor, "batch paths"]) -> None:
    """From now on the paths drop by their column of `noise`."""
    for path, column in zip(paths, noise.unbind(dim=1), strict=True):
        path.noise = column
