"""How diverse tokens are, layer by layer: the nuclear norm of a sequence (Appendix A, Figure 3)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pcae.model.blocks import Encoded, entering
from pcae.model.criteria import named_criterion
from pcae.model.encoder import Encoder
from pcae.model.reduction import Reduction, kept_counts
from pcae.model.tokens import all_ids, gather, locate, split, upcast
from pcae.settings.choices import CriterionName, Dropping


def nuclear_norm(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, " batch"]:
    """||A||_* / N of each sequence, its N tokens scaled to length 1 (Appendix A), in float32 at least.

    It is 1 / sqrt(N) where all tokens are parallel, and 1 where all are at right angles.
    """
    rows = F.normalize(upcast(tokens), dim=-1)
    return torch.linalg.svdvals(rows).sum(dim=-1) / rows.shape[1]


class Trace(NamedTuple):
    """Patch tokens on their way through an encoder: at layer 0 what enters the blocks, at layer i what block i - 1 did.

    before, after: by layer, before and after the reduction that stands there; the paper's x_i is `after` (Eq. 2).
    encoded: what came out.
    """

    before: list[Tensor]
    after: list[Tensor]
    encoded: Encoded


def trace(
    encoder: Encoder, patches: Float[Tensor, "batch tokens patch_dim"], reduction: Reduction | None = None
) -> Trace:
    """Encode whole images as the teacher does, without prefix, and keep the tokens of every layer."""
    ids = all_ids(len(patches), patches.shape[1], patches.device)
    with entering(encoder.vit.blocks[:1]) as entered:
        encoded = encoder(patches, ids, encoder.grid, prefix=False, reduction=reduction, record=range(encoder.depth))
    kept = {stage.block: stage.kept_ids for stage in encoded.stages}
    before, after = [*entered], [*entered]
    for block, (tokens, ids) in sorted(encoded.recorded.items()):
        before.append(tokens)
        after.append(gather(tokens, locate(ids, kept[block])) if block in kept else tokens)
    return Trace(before, after, encoded)


def traces(
    encoder: Encoder,
    patches: Float[Tensor, "batch tokens patch_dim"],
    droppings: Iterable[Dropping],
    reduction: Reduction,
    noise: Float[Tensor, "batch tokens"],
) -> dict[Dropping, Trace]:
    """The tokens of every layer under kinds of dropping at the stages of `reduction`; `noise` is what draws."""
    found: dict[Dropping, Trace] = {}
    criteria: dict[Dropping, CriterionName] = {"random": "random", "ptr": "mean-similarity"}
    for dropping in droppings:
        if dropping in criteria:
            criterion = named_criterion(criteria[dropping], lambda: noise)
            found[dropping] = trace(encoder, patches, replace(reduction, criterion=criterion))
        else:
            whole = found["none"] if "none" in found else trace(encoder, patches)
            found[dropping] = whole if dropping == "none" else thinned(whole, reduction, noise)
    return found


def thinned(found: Trace, reduction: Reduction, noise: Float[Tensor, "batch tokens"]) -> Trace:
    """A trace without dropping, of which only the tokens are left that the random draw would have kept."""
    counts, ids, after = kept_counts(noise.shape[1], reduction), found.encoded.ids, [found.after[0]]
    for block, tokens in enumerate(found.after[1:]):
        ids = split(noise, counts[block])[0] if block in counts else ids
        after.append(gather(tokens, ids))
    return Trace(after, after, replace(found.encoded, tokens=gather(found.encoded.tokens, ids), ids=ids))


def diversities(found: Trace) -> dict[str, Float[Tensor, "batch *layers"]]:
    """Diversity by layer after and before the reductions, and `output`: that of what comes out, past the final norm."""
    after = [nuclear_norm(tokens) for tokens in found.after]
    before = [
        same if tokens.shape == left.shape else nuclear_norm(tokens)
        for tokens, left, same in zip(found.before, found.after, after, strict=True)
    ]
    return {
        "after": torch.stack(after, dim=1),
        "before": torch.stack(before, dim=1),
        "output": nuclear_norm(found.encoded.tokens),
    }
