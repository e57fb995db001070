"""Dense features -> colours: the three directions in which they vary most."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

EDGE = 0.02
"""Share of the tokens beyond each end of the range that is shown."""


def features_rgb(
    tokens: Float[Tensor, "images tokens dim"],
) -> tuple[UInt8[Tensor, "images tokens 3"], list[float]]:
    """Colours of the tokens of all images together, so that one colour means one thing, and the share of the variance
    that each of red, green and blue explains.

    The first three principal components, each from its 2nd to its 98th percentile.
    """
    flat = tokens.flatten(0, 1).double()
    flat = flat - flat.mean(dim=0)
    variances, directions = torch.linalg.eigh(flat.T @ flat)  # ascending
    first = directions[:, -3:].flip(1)
    first = first * first.gather(0, first.abs().argmax(dim=0, keepdim=True)).sign()  # either sign solves it; take one
    values = flat @ first
    ordered = values.sort(dim=0).values  # torch.quantile takes no more than 16 million numbers
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (EDGE, 1 - EDGE))
    shares = ((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    explained = variances[-3:].flip(0) / variances.sum().clamp(min=1e-12)
    return (255 * shares).round().to(torch.uint8).unflatten(0, tokens.shape[:2]), explained.clamp(0, 1).tolist()
