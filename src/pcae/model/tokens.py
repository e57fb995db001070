"""Pure index arithmetic: cut images into patches, split, gather, put back. No weights."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns of patches in an image."""


def grid_of(image_size: tuple[int, int], patch_size: tuple[int, int]) -> Grid:
    """Rows and columns of patches that an image of `image_size` (height, width in pixels) is cut into.

    Raises ValueError when a side is not a positive multiple of the patch's.
    """
    if any(side < 1 or side % patch for side, patch in zip(image_size, patch_size, strict=True)):
        raise ValueError(f"image_size {image_size} must be a positive multiple of the patch size {patch_size}")
    return image_size[0] // patch_size[0], image_size[1] // patch_size[1]


def patchify(
    images: Shaped[Tensor, "batch channels height width"], patch_size: tuple[int, int]
) -> Shaped[Tensor, "batch tokens patch_dim"]:
    """Cut images into patches, row by row; a patch is flattened as convolution weights are: channel, row, column."""
    batch, channels = images.shape[:2]
    rows, columns = grid_of((images.shape[2], images.shape[3]), patch_size)
    cut = images.reshape(batch, channels, rows, patch_size[0], columns, patch_size[1])
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)


def unpatchify(
    patches: Shaped[Tensor, "batch tokens patch_dim"], grid: Grid, patch_size: tuple[int, int]
) -> Shaped[Tensor, "batch channels height width"]:
    """Images of all their patches: `patchify` undone."""
    cut = patches.reshape(len(patches), *grid, -1, *patch_size)
    return cut.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def count_visible(tokens: int, mask_ratio: float) -> int:
    """Visible tokens of an image, truncated in float as MAE does, so that masks agree with MAE's (196 at .85 -> 29).

    Raises ValueError unless at least one token is visible and one is hidden.
    """
    visible = int(tokens * (1 - mask_ratio)) if 0 < mask_ratio < 1 else 0
    if not 0 < visible < tokens:
        raise ValueError(
            f"mask_ratio must lie in (0, 1) and leave some of {tokens} tokens visible and some hidden, got {mask_ratio}"
        )
    return visible


def split(
    noise: Float[Tensor, "batch tokens"], n_visible: int
) -> tuple[Int[Tensor, "batch visible"], Int[Tensor, "batch hidden"]]:
    """Visible and hidden ids: the `n_visible` positions of lowest noise, and the others; each in ascending order."""
    order = noise.argsort(dim=1)
    return order[:, :n_visible].sort(dim=1).values, order[:, n_visible:].sort(dim=1).values


def counted(ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch tokens"]:
    """0, 1, 2, ... for the tokens of each sequence, made of what is there: so an exported program names no device."""
    return torch.ones_like(ids).cumsum(dim=1) - 1


def all_ids(batch: int | torch.SymInt, tokens: int, device: torch.device) -> Int[Tensor, "batch tokens"]:
    """The ids of whole images: every position, in order."""
    return torch.arange(tokens, device=device).expand(batch, -1)


def gather(
    tokens: Shaped[Tensor, "batch tokens dim"], places: Int[Tensor, "batch chosen"]
) -> Shaped[Tensor, "batch chosen dim"]:
    """The tokens that stand at `places` in the sequence."""
    return tokens.gather(1, places.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def locate(ids: Int[Tensor, "batch tokens"], wanted_ids: Int[Tensor, "batch wanted"]) -> Int[Tensor, "batch wanted"]:
    """Places of `wanted_ids` in the ascending `ids`, which hold all of them."""
    return torch.searchsorted(ids.contiguous(), wanted_ids.contiguous())


def upcast(tokens: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """`tokens` in float32 at least, whatever autocast made of them; float64 stays."""
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32))


def put_back(
    tokens: Shaped[Tensor, "batch tokens dim"],
    ids: Int[Tensor, "batch tokens"],
    grid: Grid,
    fill: float = 0.0,
) -> Shaped[Tensor, "batch dim height width"]:
    """The dense map that has each token at its id and `fill` everywhere else."""
    batch, _, dim = tokens.shape
    dense = tokens.new_full((batch, grid[0] * grid[1], dim), fill)
    dense = dense.scatter(1, ids.unsqueeze(-1).expand(-1, -1, dim), tokens)
    return dense.transpose(1, 2).reshape(batch, dim, *grid)


def present(ids: Int[Tensor, "batch tokens"], grid: Grid) -> Bool[Tensor, "batch height width"]:
    """True at the positions that `ids` names."""
    mask = torch.zeros(ids.shape[0], grid[0] * grid[1], dtype=torch.bool, device=ids.device)
    return mask.scatter(1, ids, True).reshape(-1, *grid)


def sincos_positions(grid: Grid, dim: int) -> Float[Tensor, "tokens dim"]:
    """MAE's fixed sine-cosine positions for any grid: the column in the first half, the row in the second.

    Raises ValueError when `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"the width of sine-cosine positions must be a multiple of 4, got {dim}")
    frequencies = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], dtype=torch.float64), torch.arange(grid[1], dtype=torch.float64), indexing="ij"
    )
    angles = [axis.reshape(-1, 1) * frequencies for axis in (columns, rows)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1).float()
