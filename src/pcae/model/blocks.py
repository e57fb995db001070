"""The blocks of a Vision Transformer, run one by one over a sequence that may shrink on the way."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcae.model.backbones.backbone import Call, Calling, plain_calls
from pcae.model.compiled import run_block
from pcae.model.reduction import Reduction, Seen, count_kept, mean_of_dropped, select
from pcae.model.tokens import gather


class Stage(NamedTuple):
    """What one reduction did: it stood after `block`, saw the tokens at `ids`, scored them and kept `kept_ids`."""

    block: int
    ids: Int[Tensor, "batch tokens"]
    scores: Float[Tensor, "batch tokens"]
    kept_ids: Int[Tensor, "batch kept"]


@dataclass(frozen=True)
class Encoded:
    """What comes out of the blocks.

    prefix: CLS and register tokens. tokens: the patch tokens that are left, at the positions `ids` of the grid.
    appended: means of dropped tokens, oldest first. recorded: by block, its output (before any reduction there)
    and the ids; recorded_prefix: likewise, the prefix. stages: what each reduction decided.
    """

    prefix: Float[Tensor, "batch prefix dim"]
    tokens: Float[Tensor, "batch tokens dim"]
    ids: Int[Tensor, "batch tokens"]
    appended: Float[Tensor, "batch appended dim"]
    recorded: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    recorded_prefix: dict[int, Tensor] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()


def run_blocks(
    blocks: Iterable[nn.Module],
    tokens: Float[Tensor, "batch tokens dim"],
    ids: Int[Tensor, "batch tokens"],
    prefix: Float[Tensor, "batch prefix dim"],
    reduction: Reduction | None = None,
    record: Iterable[int] = (),
    *,
    grad_checkpointing: bool = False,
    class_token: bool = True,
    calling: Calling = plain_calls,
) -> Encoded:
    """Run transformer blocks over prefix, patch and appended tokens, shrinking the patch tokens on the way.

    The one function under the encoder, `pcae.reduce` and dense tasks. `ids` ascend. Features come out as the last
    block left them; norms are the caller's. With `grad_checkpointing` blocks are computed again in the backward pass.
    class_token: whether the first of the prefix is a class token, not a register. calling: what runs blocks over
    tokens at these positions, where the family's blocks take more than tokens (`Backbone.calling`).
    Raises ValueError when a block is named that does not exist.
    """
    blocks, record = list(blocks), set(record)
    check_blocks(len(blocks), record.union(reduction.after if reduction else ()))
    n_prefix, recorded, prefixes, stages = prefix.shape[1], {}, {}, []
    sequence, call = torch.cat([prefix, tokens], dim=1), calling(ids, n_prefix, 0)
    for index, block in enumerate(blocks):
        before, sequence = sequence, run_block(call, index, block, sequence, grad_checkpointing=grad_checkpointing)
        if index in record:
            recorded[index] = (sequence[:, n_prefix : n_prefix + ids.shape[1]], ids)
            prefixes[index] = sequence[:, :n_prefix]
        if reduction and index in reduction.after and count_kept(ids.shape[1], reduction.keep) < ids.shape[1]:
            patches = sequence[:, n_prefix : n_prefix + ids.shape[1]]
            n_keep = count_kept(ids.shape[1], reduction.keep)
            look = partial(attention_map, call, index, block, before)
            seen = Seen(patches, n_keep, ids, look, n_prefix, class_token)
            sequence, stage = _reduce(sequence, seen, index, reduction)
            stages.append(stage)
            ids = stage.kept_ids
            call = calling(ids, n_prefix, sequence.shape[1] - n_prefix - ids.shape[1])
    sizes = [n_prefix, ids.shape[1], sequence.shape[1] - n_prefix - ids.shape[1]]
    prefix, tokens, appended = sequence.split(sizes, dim=1)
    return Encoded(prefix, tokens, ids, appended, recorded, prefixes, tuple(stages))


def attention_map(
    call: Call, index: int, block: nn.Module, sequence: Float[Tensor, "batch all dim"]
) -> Float[Tensor, "batch all all"]:
    """Attention inside a block over `sequence`, averaged over heads: from each token (row) to each."""
    return call.attention(index, block, sequence).mean(dim=1)


@contextmanager
def entering(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """What enters these modules while the context lasts, in the order in which it does."""
    entered: list[Tensor] = []
    hooks = [one.register_forward_pre_hook(lambda _, given: entered.append(given[0])) for one in modules]
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()


def check_blocks(depth: int, named: Iterable[int]) -> None:
    """Raise ValueError when a block is named that a model of `depth` blocks does not have."""
    beyond = sorted(block for block in named if not 0 <= block < depth)
    if beyond:
        raise ValueError(f"blocks {beyond} are named, but the model has blocks 0 to {depth - 1}")


def _reduce(
    sequence: Float[Tensor, "batch before dim"], seen: Seen, block: int, reduction: Reduction
) -> tuple[Float[Tensor, "batch after dim"], Stage]:
    """One stage: the shorter sequence, the mean of the dropped tokens at its end if asked; and what was decided."""
    places, scores = select(seen, reduction.criterion)
    kept = gather(seen.tokens, places)
    mean = [mean_of_dropped(seen.tokens, kept)] if reduction.append_mean else []
    end = seen.n_prefix + seen.tokens.shape[1]
    sequence = torch.cat([sequence[:, : seen.n_prefix], kept, sequence[:, end:], *mean], dim=1)
    return sequence, Stage(block, seen.ids, scores, seen.ids.gather(1, places))
