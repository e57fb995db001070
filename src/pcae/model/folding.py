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
    into = nearest(alike(upcast(keys()), selection), selection.places)
    weights = into * sizes.unsqueeze(1)
    total = weights.sum(dim=-1)
    return Merged((weights @ upcast(tokens) / total.unsqueeze(-1)).to(tokens.dtype), total)


def alike(keys: Float[Tensor, "batch tokens key"], selection: Selection) -> Float[Tensor, "batch tokens kept"]:
    """How near each token is to each kept one that takes others in, minus infinity for the rest: cosines times the
    length of the token's key, which changes nothing in which is nearest."""
    places, scores = selection
    to_kept = torch.nn.functional.normalize(gather(keys, places), dim=-1)
    return (keys @ to_kept.transpose(-2, -1)).masked_fill(~takers(places, scores).unsqueeze(1), -torch.inf)


def nearest(
    alike: Float[Tensor, "batch tokens kept"], places: Int[Tensor, "batch kept"]
) -> Float[Tensor, "batch kept tokens"]:
    """1 where a token (column) goes into a kept one (row), else 0."""
    rows = counted(places)
    into = alike.argmax(dim=-1).scatter(1, places, rows)
    return (rows.unsqueeze(-1) == into.unsqueeze(1)).to(alike.dtype)


def margin(keys: Float[Tensor, "batch tokens key"], selection: Selection) -> Float[Tensor, " batch"]:
    """How much nearer a dropped token is to the kept one that it goes into than to the next one, by the cosine: of
    each image the least. Infinite where there is one kept token, or none was dropped."""
    keys = upcast(keys)
    found = alike(torch.nn.functional.normalize(keys, dim=-1), selection)
    if found.shape[2] < 2:
        return torch.full_like(keys[:, 0, 0], torch.inf)
    first, second = found.topk(2, dim=-1).values.unbind(-1)
    return (first - second).scatter(1, selection.places, torch.inf).amin(dim=1)


def takers(places: Int[Tensor, "batch kept"], scores: Float[Tensor, "batch tokens"]) -> Bool[Tensor, "batch kept"]:
    """Which of the kept tokens take others in: those of score minus infinity, or all where none has it."""
    least = scores.gather(1, scores.argmin(dim=1, keepdim=True))
    return ((scores == -torch.inf) | (least > -torch.inf)).gather(1, places)
