"""Other scores of redundancy than the method's own: what the paper compares it with (sections 3.2, E and F)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pcae.model.reduction import Criterion, Reduction, Seen, kept_counts, mean_similarity, more_than_half
from pcae.model.tokens import counted, upcast
from pcae.settings.choices import CriterionName


def named_criterion(name: CriterionName, noise: Callable[[], Tensor]) -> Criterion:
    """The criterion of that name. noise: draws a uniform number for every position of the grid, for `random`."""
    criteria: dict[CriterionName, Criterion] = {
        "mean-similarity": mean_similarity,
        "random": lambda seen: noise().gather(1, seen.ids),
        "token-importance": token_importance,
        "saliency": saliency,
        "decomposition": leverage,
        "bipartite": bipartite,
    }
    return criteria[name]


def inference_criterion(name: CriterionName) -> Criterion:
    """The criterion of that name; `random` draws for every image and stage, from a generator that starts at 0."""
    if name != "random":
        return named_criterion(name, noise=lambda: torch.empty(0))
    return partial(drawn, torch.Generator().manual_seed(0))


def drawn(generator: torch.Generator, seen: Seen) -> Float[Tensor, "batch tokens"]:
    """A random number for each token, which says nothing of it."""
    return torch.rand(seen.ids.shape, generator=generator).to(seen.ids.device)


def name_of(criterion: Criterion) -> CriterionName:
    """The name of a criterion of `inference_criterion`. Raises ValueError for one of the caller's own."""
    if isinstance(criterion, partial) and criterion.func is drawn:
        return "random"
    names: tuple[CriterionName, ...] = ("mean-similarity", "token-importance", "saliency", "decomposition", "bipartite")
    for name in names:
        if inference_criterion(name) is criterion:
            return name
    raise ValueError("the model drops tokens by a criterion of its own, which weights cannot say; give its .vit")


def can_drop(tokens: int, reduction: Reduction, n_prefix: int) -> bool:
    """Whether any of an image's patch tokens are left after every stage, and the criterion can drop as many. n_prefix:
    tokens before the patches."""
    try:
        counts = [tokens, *kept_counts(tokens, reduction).values()]
    except ValueError:
        return False
    return reduction.criterion is not bipartite or more_than_half(counts, n_prefix) is None


def most_dropped(tokens: int, reduction: Reduction, n_prefix: int) -> float:
    """The highest drop ratio, in hundredths, that every stage can have, as it can all below."""
    steps = range(1, 100)
    first = next(
        (step for step in steps if not can_drop(tokens, replace(reduction, keep=1 - step / 100), n_prefix)), 100
    )
    return (first - 1) / 100


def stage_counts(tokens: int, reduction: Reduction, n_prefix: int) -> list[int]:
    """Patch tokens of an image, and what is left of them after each stage. Raises ValueError, with the most that can be
    had, where none is left or the criterion cannot drop as many."""
    counts = [tokens, *kept_counts(tokens, reduction).values()]
    if not can_drop(tokens, reduction, n_prefix):
        most = most_dropped(tokens, reduction, n_prefix)
        remedy = f"use a drop ratio of {most:g} at most" if most else "use fewer stages"
        raise ValueError(
            f"criterion bipartite drops at most every second token; {' -> '.join(map(str, counts))} tokens is more: "
            f"{remedy}, or another criterion"
        )
    return counts


def token_importance(seen: Seen) -> Float[Tensor, "batch tokens"]:
    """Less the attention that a token receives from the patch tokens, on average over heads and tokens (section E)."""
    end = seen.n_prefix + seen.tokens.shape[1]
    return -seen.attention()[:, seen.n_prefix : end, seen.n_prefix : end].mean(dim=1)


def saliency(seen: Seen) -> Float[Tensor, "batch tokens"]:
    """Less the attention that a token receives from the class token, on average over heads (section E).

    Raises ValueError for a sequence without class token.
    """
    if not seen.n_prefix or not seen.class_token:
        raise ValueError("criterion saliency needs a model with a class token; use token-importance or another model")
    end = seen.n_prefix + seen.tokens.shape[1]
    return -seen.attention()[:, 0, seen.n_prefix : end]


def leverage(seen: Seen) -> Float[Tensor, "batch tokens"]:
    """Less the ridge leverage of a token: the share of it that the others cannot explain (section 3.2).

    By singular values: sum over directions of left^2 * energy / (energy + ridge), where the ridge is the energy beyond
    the first `n_keep` directions over n_keep (Cohen, Musco, Musco 2017). The paper does not say which decomposition it
    means; this one scores rows, has the number of tokens that stay in it, and is 0 for directions that are not there.
    """
    left, values, _ = torch.linalg.svd(upcast(seen.tokens), full_matrices=False)
    energy = values.square()
    ridge = energy[:, seen.n_keep :].sum(dim=1, keepdim=True) / seen.n_keep
    least = 1e-9 * energy[:, :1] + torch.finfo(energy.dtype).tiny  # rounding is no direction
    weight = energy / (energy + ridge + least)
    return -(left.square() * weight.unsqueeze(1)).sum(dim=-1)


def bipartite(seen: Seen) -> Float[Tensor, "batch tokens"]:
    """Bipartite matching (ToMe, section 3): a token's cosine similarity, by keys, with its nearest in the other set.

    Every second token of the whole sequence is of one set and may go; the others are minus infinity and stay. Raises
    ValueError where more than the first set would have to go.
    """
    assert seen.keys is not None
    keys = torch.nn.functional.normalize(upcast(seen.keys()), dim=-1)
    stays = (counted(seen.ids) + seen.n_prefix) % 2 == 1
    tokens = keys.shape[1]
    least = (tokens + seen.n_prefix % 2) // 2  # how many stay in any case
    if seen.n_keep < least:
        raise ValueError(
            f"criterion bipartite drops at most every second token, not {tokens - seen.n_keep} of {tokens}; use a drop "
            f"ratio of {100 * (tokens - least) // tokens / 100:g} at most at this stage, or another criterion"
        )
    alike = (keys @ keys.transpose(-2, -1)).masked_fill(~stays.unsqueeze(1), -torch.inf)
    best = alike.argmax(dim=-1, keepdim=True)  # no amax, of which tools of ONNX Runtime lose the shape
    nearest = alike.gather(-1, best).squeeze(-1)
    return nearest.masked_fill(stays, -torch.inf)
