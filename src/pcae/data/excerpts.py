"""Does an image show a part of another one, mirrored or not? Pairs are held against each other, window by window."""

from itertools import product

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

SIDE = 64
"""Side of the small copies that are compared."""
SPANS = [(start, side) for side in (50, 53, 56, 59, 62, 64) for start in range(0, SIDE - side + 1, 2)]
"""Where a window may begin along an edge, and its side."""
WINDOWS = [(top, left, side) for top, side in SPANS for left, other in SPANS if side == other]
"""Squares of 60 to 100 % of the area that are looked at first."""
ROUGH, FINE = 8, 32
"""Cells a side in which a window is looked at first, and then."""
LIKELY = 0.85
"""Correlation of colours, at first, below which a pair is given up."""
ONE_WAY = 0.05
"""Share of the gradient across its main direction, below which an image is stripes, which fit everywhere along them."""
PAIRS = 512


def shrink(pixels: UInt8[Tensor, "images channels height width"]) -> UInt8[Tensor, "images channels 64 64"]:
    """The small copies that are compared."""
    small = F.interpolate(pixels.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8)


def best_fits(
    small: UInt8[Tensor, "images channels 64 64"], pairs: Int[Tensor, "pairs 2"], device: torch.device
) -> Float[Tensor, " pairs"]:
    """Of each pair the correlation of details where one image fits best into the other, which it fills to 60 % or more.

    -1 where nothing looks alike. Stripes must fit as they are: they would fit everywhere along themselves.
    """
    found = torch.full((len(pairs),), -1.0)
    striped = stripes(small)[pairs].any(dim=1)
    for whole, part in ((0, 1), (1, 0)):
        for rows in pairs[:, whole].argsort().split(PAIRS):  # pairs of the same whole together
            shown, counts = pairs[rows, whole].unique_consecutive(return_counts=True)
            wholes, own = (small[some].to(device).float() for some in (shown, pairs[rows, part]))
            windows = windows_of(wholes)
            for copies in (own, own.flip(-1)):
                fit = fits(wholes, windows, counts, copies, striped[rows].to(device))
                found[rows] = found[rows].maximum(fit.cpu())
    return found


def fits(
    wholes: Float[Tensor, "wholes channels 64 64"],
    windows: Float[Tensor, "wholes windows dim"],
    counts: Int[Tensor, " wholes"],
    copies: Float[Tensor, "pairs channels 64 64"],
    striped: Bool[Tensor, " pairs"],
) -> Float[Tensor, " pairs"]:
    """How well each copy fits into its whole. counts: how many copies in a row are held against each whole."""
    each = zip(colours(smaller(copies, ROUGH)).split(counts.tolist()), windows, strict=True)
    best, place = torch.cat([some @ window.T for some, window in each]).max(dim=1)
    among = torch.arange(len(wholes), device=best.device).repeat_interleave(counts.to(best.device))
    begin = torch.tensor(WINDOWS, dtype=torch.float32, device=best.device)[place]
    found = torch.full_like(best, -1.0)
    for those, fit in ((~striped, aligned), (striped, as_they_are)):
        likely = ((best >= LIKELY) & those).nonzero().squeeze(1)
        if len(likely):
            found[likely] = fit(wholes[among[likely]], copies[likely], begin[likely])
    return found


def as_they_are(wholes: Tensor, copies: Tensor, _: Tensor) -> Float[Tensor, " pairs"]:
    """The correlation of details of whole images."""
    ours, theirs = (details(smaller(images, FINE)) for images in (wholes, copies))
    return (ours * theirs).sum(dim=1)


def aligned(
    wholes: Float[Tensor, "pairs channels 64 64"],
    copies: Float[Tensor, "pairs channels 64 64"],
    begin: Float[Tensor, "pairs 3"],
) -> Float[Tensor, " pairs"]:
    """The best correlation of details near windows: top, left and side of each are moved in two rounds."""
    wanted = details(smaller(copies, FINE))
    best = torch.full_like(begin[:, 0], -1.0)
    for step in (1.5, 0.75):
        around = begin
        for wider, down, right in product((-1, 0, 1), repeat=3):
            moves = begin.new_tensor([down - wider / 2, right - wider / 2, wider])
            found = (details(cut(wholes, around + step * moves)) * wanted).sum(dim=1)
            begin = torch.where((found > best)[:, None], around + step * moves, begin)
            best = best.maximum(found)
    return best


def cut(
    wholes: Float[Tensor, "pairs channels 64 64"], windows: Float[Tensor, "pairs 3"]
) -> Float[Tensor, "pairs channels 32 32"]:
    """Windows (top, left, side) of images, in FINE cells a side; outside them the border goes on."""
    cells = (torch.arange(FINE, device=windows.device) + 0.5) / FINE
    rows, columns = ((windows[:, place, None] + windows[:, 2:] * cells) / (SIDE / 2) - 1 for place in (0, 1))
    shape = (-1, FINE, FINE)
    grid = torch.stack([columns[:, None].expand(shape), rows[:, :, None].expand(shape)], dim=-1)
    return F.grid_sample(wholes, grid, padding_mode="border", align_corners=False)


def windows_of(images: Float[Tensor, "images channels 64 64"]) -> Float[Tensor, "images windows dim"]:
    """What all WINDOWS of images look like from afar."""
    eye = torch.eye(SIDE, device=images.device)
    means = torch.stack([F.adaptive_avg_pool1d(eye[:, start : start + side], ROUGH) for start, side in SPANS])
    cells = torch.einsum("iry,ncyx->ncirx", means.mT, images)
    cells = torch.einsum("jsx,ncirx->nijcrs", means.mT, cells)
    same = [side == other for _, side in SPANS for _, other in SPANS]
    return colours(cells.flatten(1, 2)[:, same])


def colours(cells: Float[Tensor, "*images channels 8 8"]) -> Float[Tensor, "*images dim"]:
    """What images look like from afar: each channel less its mean, at length 1 together."""
    return F.normalize((cells - cells.mean(dim=(-2, -1), keepdim=True)).flatten(-3), dim=-1)


def smaller(images: Float[Tensor, "images channels 64 64"], side: int) -> Float[Tensor, "images channels side side"]:
    """Images in so many cells a side."""
    return F.avg_pool2d(images, SIDE // side)


def details(images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images dim"]:
    """What differs from its 5 x 5 neighbourhood, at length 1."""
    around = F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), 5, 1)
    return F.normalize((images - around).flatten(1), dim=1)


def stripes(small: UInt8[Tensor, "images channels 64 64"], block: int = 1024) -> Bool[Tensor, " images"]:
    """Images that hardly change along one direction: the lesser eigenvalue of their gradients' second moments."""
    found = []
    for some in small.split(block):
        cells = smaller(some.float(), FINE)
        down = (cells[..., 2:, 1:-1] - cells[..., :-2, 1:-1]).flatten(1)
        right = (cells[..., 1:-1, 2:] - cells[..., 1:-1, :-2]).flatten(1)
        whole = (down.square() + right.square()).sum(dim=1)
        apart = (down.square() - right.square()).sum(dim=1).square() + 4 * (down * right).sum(dim=1).square()
        found.append(whole - apart.sqrt() <= 2 * ONE_WAY * whole)
    return torch.cat([torch.empty(0, dtype=torch.bool), *found])
