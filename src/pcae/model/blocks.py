"""The blocks of a Vision Transformer, run one by one over a sequence that may shrink on the way."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.backbones.backbone import Call, Calling, attention_half, mlp_half, plain_calls
from pcae.model.compiled import run_block
from pcae.model.folding import margin, mean_of_dropped, merge
from pcae.model.reduction import Reduction, Seen, Selection, count_kept, select
from pcae.model.tokens import gather


class Stage(NamedTuple):
    """What one reduction did: it stood after `block`, saw the tokens at `ids`, scored them and kept `kept_ids`.

    margin: by how much each image's merging was decided (`folding.margin`), where tokens are merged; made when it is
    asked for.
    """

    block: int
    ids: Int[Tensor, "batch tokens"]
    scores: Float[Tensor, "batch tokens"]
    kept_ids: Int[Tensor, "batch kept"]
    margin: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class Encoded:
    """What comes out of the blocks.

    prefix: CLS and register tokens. tokens: the patch tokens that are left, at the positions `ids` of the grid.
    appended: means of dropped tokens, oldest first. recorded: by block, its output (before any reduction there)
    and the ids; recorded_prefix: likewise, the prefix. stages: what each reduction decided. sizes: how many tokens
    each patch token stands for, where some were merged.
    """

    prefix: Float[Tensor, "batch prefix dim"]
    tokens: Float[Tensor, "batch tokens dim"]
    ids: Int[Tensor, "batch tokens"]
    appended: Float[Tensor, "batch appended dim"]
    recorded: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    recorded_prefix: dict[int, Tensor] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    sizes: Float[Tensor, "batch tokens"] | None = None


WHOLE = Reduction(keep=1.0, after=())
"""All tokens stay."""


@dataclass
class Walk:
    """A sequence on its way through the blocks: prefix, patch and appended tokens.

    sizes: how many tokens each patch token stands for, once some were merged.
    """

    sequence: Float[Tensor, "batch all dim"]
    ids: Int[Tensor, "batch tokens"]
    n_prefix: int
    calling: Calling
    class_token: bool
    sizes: Float[Tensor, "batch tokens"] | None = None
    stages: list[Stage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.call = self.calling(self.ids, self.n_prefix, 0, None)

    @property
    def end(self) -> int:
        """Where the patch tokens end."""
        return self.n_prefix + self.ids.shape[1]

    @property
    def patches(self) -> Float[Tensor, "batch tokens dim"]:
        """The patch tokens."""
        return self.sequence[:, self.n_prefix : self.end]

    def run(self, index: int, block: nn.Module, *, again: bool) -> None:
        """Go through a block."""
        self.sequence = run_block(self.call, index, block, self.sequence, grad_checkpointing=again)

    def reduce(self, index: int, block: nn.Module, before: Tensor, n_keep: int, reduction: Reduction) -> None:
        """One stage: fewer patch tokens, and what is left of the others. before: what entered the block."""
        keys = partial(self.call.keys, block, before[:, self.n_prefix : self.end])
        made = keys() if reduction.fold == "merge" else None  # once, though a criterion looks at them too
        keys = keys if made is None else lambda: made
        attention = partial(attention_map, self.call, index, block, before)
        seen = Seen(self.patches, n_keep, self.ids, attention, self.n_prefix, self.class_token, keys)
        selection = select(seen, reduction.criterion)
        kept, appended = self.folded(seen, selection, reduction, keys)
        appended = [self.sequence[:, self.end :], *appended]
        self.sequence = torch.cat([self.sequence[:, : self.n_prefix], kept, *appended], dim=1)
        kept_ids = self.ids.gather(1, selection.places)
        decided = None if made is None else partial(margin, made, selection)
        self.stages.append(Stage(index, self.ids, selection.scores, kept_ids, decided))
        self.ids = kept_ids
        self.call = self.calling(self.ids, self.n_prefix, self.sequence.shape[1] - self.end, self.bias())

    def folded(
        self, seen: Seen, selection: Selection, reduction: Reduction, keys: Callable[[], Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The kept tokens, with others in them or not, and what is appended of the others."""
        if reduction.fold == "merge":
            sizes = torch.ones_like(seen.ids, dtype=selection.scores.dtype) if self.sizes is None else self.sizes
            kept, self.sizes = merge(seen.tokens, sizes, selection, keys)
            return kept, []
        kept = gather(seen.tokens, selection.places)
        return kept, [mean_of_dropped(seen.tokens, kept)] if reduction.fold in ("append", "pool") else []

    def bias(self) -> Float[Tensor, "batch 1 1 all"] | None:
        """What is added to the attention that each token gets: the logarithm of its size (proportional attention)."""
        if self.sizes is None:
            return None
        sizes = F.pad(self.sizes.to(self.sequence.dtype), (self.n_prefix, self.sequence.shape[1] - self.end), value=1.0)
        return sizes.log()[:, None, None]


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
    blocks, record, reduction = list(blocks), set(record), reduction or WHOLE
    shares = reduction.by_block
    check_blocks(len(blocks), record.union(shares))
    n_prefix, recorded, prefixes = prefix.shape[1], {}, {}
    walk = Walk(torch.cat([prefix, tokens], dim=1), ids, n_prefix, calling, class_token)
    for index, block in enumerate(blocks):
        before, n_keep = walk.sequence, count_kept(walk.ids.shape[1], shares.get(index, 1.0))
        drops = n_keep < walk.ids.shape[1]
        if drops and reduction.before_mlp:
            walk.run(index, attention_half(block), again=grad_checkpointing)
            walk.reduce(index, block, before, n_keep, reduction)
            walk.sequence = run_block(mlp_half(block), walk.sequence, grad_checkpointing=grad_checkpointing)
        else:
            walk.run(index, block, again=grad_checkpointing)
        if index in record:
            recorded[index], prefixes[index] = (walk.patches, walk.ids), walk.sequence[:, :n_prefix]
        if drops and not reduction.before_mlp:
            walk.reduce(index, block, before, n_keep, reduction)
    sizes = [n_prefix, walk.ids.shape[1], walk.sequence.shape[1] - walk.end]
    prefix, tokens, appended = walk.sequence.split(sizes, dim=1)
    return Encoded(prefix, tokens, walk.ids, appended, recorded, prefixes, tuple(walk.stages), walk.sizes)


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
