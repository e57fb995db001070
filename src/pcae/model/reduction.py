"""THE IDEA: tokens that look like the mean of their sequence are redundant. Score them, keep the others; no weights."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcae.model.tokens import upcast
from pcae.settings.choices import FoldName


class Seen(NamedTuple):
    """What a criterion may look at: the patch tokens of a sequence, of which `n_keep` will stay.

    ids: their positions in the grid. attention: the map of the block that they come out of, averaged over its heads,
    from each token of the sequence (row) to each; made when it is asked for. n_prefix: how many class and register
    tokens stand before the patches in it. class_token: whether the first of these is a class token, not a register.
    keys: the patch tokens' keys in that attention, averaged over its heads; made when they are asked for.
    """

    tokens: Float[Tensor, "batch tokens dim"]
    n_keep: int
    ids: Int[Tensor, "batch tokens"]
    attention: Callable[[], Tensor]
    n_prefix: int = 0
    class_token: bool = True
    keys: Callable[[], Tensor] | None = None


Criterion = Callable[[Seen], Tensor]
"""Scores the redundancy of tokens: Float[batch tokens]; the lowest stay. Those of minus infinity must stay, and where
there are any, what is merged goes into them alone."""


def mean_similarity(seen: Seen) -> Float[Tensor, "batch tokens"]:
    """Cosine similarity of each token with the mean of the raw tokens of its sequence (Eq. 3), in float32 at least."""
    tokens = upcast(seen.tokens)
    return torch.cosine_similarity(tokens, tokens.mean(dim=1, keepdim=True), dim=-1)


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """Where the token sequence shrinks and by how much: a value that the encoder takes (Eq. 2).

    keep: share of the patch tokens that stays at each stage, in (0, 1], or one for each; 1 is the plain ViT.
    after: blocks, counted from 0, after whose output a stage stands, ascending.
    criterion: redundancy of tokens; prefix and appended tokens take no part in it.
    fold: what becomes of dropped tokens. leave: nothing, as in pre-training. append: the mean of each stage's stands
    behind the sequence, as in fine-tuning (section 3.4). pool: the same, and pooling takes these means in. merge: each
    goes into the nearest kept one, which counts as that many in attention and pooling (ToMe, ICLR 2023).
    before_mlp: stages stand between their block's attention and its MLP, which then has fewer tokens.
    """

    keep: float | tuple[float, ...]
    after: tuple[int, ...]
    criterion: Criterion = mean_similarity
    fold: FoldName = "leave"
    before_mlp: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.keep, tuple) and len(self.keep) != len(self.after):
            raise ValueError(
                f"keep has {len(self.keep)} shares for {len(self.after)} stages; give one, or one for each"
            )
        for keep in self.keeps:
            if not 0 < keep <= 1:
                raise ValueError(f"keep (keep_ratio) must lie in (0, 1], got {keep}")
        if sorted(set(self.after)) != list(self.after) or min(self.after, default=0) < 0:
            raise ValueError(f"blocks to reduce after must be ascending and not negative, got {self.after}")

    @property
    def keeps(self) -> tuple[float, ...]:
        """The share that stays at each stage."""
        return self.keep if isinstance(self.keep, tuple) else (self.keep,) * len(self.after)

    @property
    def share(self) -> float:
        """The share that stays at every stage. Raises ValueError where stages differ."""
        shares = {self.keep} if isinstance(self.keep, float | int) else set(self.keep)
        if len(shares) != 1:
            raise ValueError(f"stages that keep shares of their own, {self.keep}, are for pcae.reduce alone; give one")
        return float(*shares)

    @property
    def by_block(self) -> dict[int, float]:
        """The share that stays, by the block that a stage stands after."""
        return dict(zip(self.after, self.keeps, strict=True))

    def within(self, depth: int) -> "Reduction":
        """The same for the first `depth` blocks alone."""
        after = tuple(block for block in self.after if block < depth)
        return replace(self, after=after, keep=self.keeps[: len(after)] if isinstance(self.keep, tuple) else self.keep)

    @classmethod
    def for_pretraining(cls, depth: int, *, stages: int = 3, keep: float = 0.5, placement: int = 1) -> "Reduction":
        """The teacher's reduction: after blocks 0, 4, 8 of 12 (section 4), likewise for other depths and counts."""
        return cls(keep=keep, after=placed(depth, stages, placement))

    @classmethod
    def for_finetuning(
        cls,
        depth: int,
        *,
        drop_ratio: float | Sequence[float],
        criterion: Criterion = mean_similarity,
        fold: FoldName = "append",
        after: Sequence[int] | None = None,
        before_mlp: bool = False,
    ) -> "Reduction":
        """The classifier's reduction: after blocks 0, 7, 10 of 12, means of dropped tokens appended (section 3.4).

        drop_ratio: one for all stages, or one for each of the blocks in `after`.
        """
        if after is None:
            after = sorted({block * depth // 12 for block in (0, 7, 10)})
        elif isinstance(drop_ratio, tuple | list):
            keep = tuple(1 - check_ratio(ratio) for ratio in drop_ratio)
            return cls(keep=keep, after=tuple(after), criterion=criterion, fold=fold, before_mlp=before_mlp)
        keep = 1 - check_ratio(drop_ratio)
        return cls(keep=keep, after=tuple(after), criterion=criterion, fold=fold, before_mlp=before_mlp)


def check_ratio(drop_ratio: Any) -> float:
    """The drop ratio. Raises ValueError for one outside [0, 1), or no number."""
    if not isinstance(drop_ratio, Real):
        raise ValueError(
            f"drop_ratio is one number in [0, 1), such as 0.3, got {drop_ratio!r}; a range of them is for "
            "fine-tuning: pcae finetune --drop-ratio 0:0.4; one for each stage needs these: after=(0, 7, 10)"
        )
    ratio = float(drop_ratio)
    if not 0 <= ratio < 1:
        raise ValueError(f"drop_ratio must lie in [0, 1), got {drop_ratio}")
    return ratio


def placed(depth: int, stages: int, placement: int) -> tuple[int, ...]:
    """Blocks after which so many stages stand, by the number of Table 8's drop case; of 12 blocks and three stages:

    1: 0, 4, 8. 2: 3, 7, 11. 3: 0, 5, 11. 4: 0, 1, 2. 5: 9, 10, 11. Raises ValueError for what cannot be.
    """
    if not 0 <= stages <= depth:
        raise ValueError(f"stages must lie in [0, {depth}] for {depth} blocks, got {stages}")
    places = {
        1: [depth // max(1, stages) * i for i in range(stages)],
        2: [depth // max(1, stages) * (i + 1) - 1 for i in range(stages)],
        3: [(depth - 1) * i // max(1, stages - 1) for i in range(stages)],
        4: list(range(stages)),
        5: list(range(depth - stages, depth)),
    }
    if placement not in places:
        raise ValueError(f"placement must be one of {', '.join(map(str, places))} (Table 8), got {placement}")
    return tuple(places[placement])


class Selection(NamedTuple):
    """What a stage decides: which places stay (ascending), and the score of every token it saw."""

    places: Int[Tensor, "batch kept"]
    scores: Float[Tensor, "batch tokens"]


def count_kept(tokens: int, keep: float) -> int:
    """Tokens that a stage keeps, floor(tokens * keep) (Eq. 3), safe from float error: 70 * 0.7 is 49.

    Raises ValueError when none would stay.
    """
    kept = math.floor(tokens * keep + 1e-9)
    if kept < 1:
        raise ValueError(f"keeping {keep:g} of {tokens} tokens leaves none; keep more, or use fewer stages")
    return kept


def kept_counts(tokens: int, reduction: Reduction) -> dict[int, int]:
    """Patch tokens that stay after each reducing block: 147 at one half after 0, 4, 8 -> {0: 73, 4: 36, 8: 18}."""
    counts = {}
    for block, keep in reduction.by_block.items():
        counts[block] = tokens = count_kept(tokens, keep)
    return counts


def more_than_half(counts: Sequence[int], n_prefix: int = 1) -> int | None:
    """The first of these counts, each left of the one before, of which more than every second token of the sequence
    goes, which bipartite matching cannot have; None where none is. n_prefix: tokens before the patches."""
    return next((n for n, kept in pairwise(counts) if kept < (n + n_prefix % 2) // 2), None)


def select(seen: Seen, criterion: Criterion = mean_similarity) -> Selection:
    """Decide which `n_keep` tokens stay: those of lowest redundancy (Eq. 3). Touches no features."""
    scores = criterion(seen)
    return Selection(scores.topk(seen.n_keep, dim=1, largest=False).indices.sort(dim=1).values, scores)
