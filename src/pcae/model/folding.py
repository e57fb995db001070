"""What becomes of dropped tokens: they are left out, their mean is appended, or each is merged into a kept one."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pcae.model.reduction import Selection
from pcae.model.tokens import counted, gather, upcast


class Merged(NamedTuple):
    """Kept tokens that took others in, and how many tokens each of them stands for."""

    tokens: Float[Tensor, "batch kept dim"]
    sizes: Float[Tensor, "batch kept"]


def mean_of_dropped(
    tokens: Float[Tensor, "batch tokens dim"], kept: Float[Tensor, "batch kept dim"]
) -> Float[Tensor, "batch 1 dim"]:
    """The mean of the tokens that are not among `kept`, summed in float32 at least."""
    dropped = tokens.shape[1] - kept.shape[1]
    total = upcast(tokens).sum(dim=1, keepdim=True) - upcast(kept).sum(dim=1, keepdim=True)
    return (total / dropped).to(tokens.dtype)


def merge(
    tokens: Float[Tensor, "batch tokens dim"],
    sizes: Float[Tensor, "batch tokens"],
    selection: Selection,
    keys: Callable[[], Float[Tensor, "batch tokens key"]],
) -> Merged:
    """Each token in the kept one whose key is nearest by the cosine, kept ones in themselves: means by size.

    Where some tokens have a score of minus infinity, dropped ones go into those alone. It is one matrix product with a
    matrix of ones, so its shape is known, and it is summed in float32 at least.
    """
    into = nearest(upcast(keys()), selection)
    weights = into * sizes.unsqueeze(1)
    total = weights.sum(dim=-1)
    return Merged((weights @ upcast(tokens) / total.unsqueeze(-1)).to(tokens.dtype), total)


def nearest(keys: Float[Tensor, "batch tokens key"], selection: Selection) -> Float[Tensor, "batch kept tokens"]:
    """1 where a token (column) goes into a kept one (row), else 0."""
    places, scores = selection
    to_kept = torch.nn.functional.normalize(gather(keys, places), dim=-1)
    alike = keys @ to_kept.transpose(-2, -1)  # a token's own length changes nothing in which is nearest
    best = alike.masked_fill(~takers(places, scores).unsqueeze(1), -torch.inf).argmax(dim=-1)
    rows = counted(places)
    into = best.scatter(1, places, rows)
    return (rows.unsqueeze(-1) == into.unsqueeze(1)).to(keys.dtype)


def takers(places: Int[Tensor, "batch kept"], scores: Float[Tensor, "batch tokens"]) -> Bool[Tensor, "batch kept"]:
    """Which of the kept tokens take others in: those of score minus infinity, or all where none has it."""
    least = scores.gather(1, scores.argmin(dim=1, keepdim=True))
    return ((scores == -torch.inf) | (least > -torch.inf)).gather(1, places)
