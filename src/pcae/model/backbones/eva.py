"""timm's Eva: EVA-02, DINOv3, Perception Encoder, the ViTs with rotary positions. A token's row travels with it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva, EvaBlock, EvaBlockPostNorm
from torch import Tensor

from pcae.model.backbones.attention import attention_by_head
from pcae.model.backbones.backbone import Backbone, Call, Calling, plain_calls, with_attention
from pcae.model.tokens import Grid


class EvaBackbone(Backbone):
    """timm's Eva. Prefix and appended tokens are not turned."""

    model_type = Eva
    block_types = (EvaBlock, EvaBlockPostNorm)
    module = "eva"
    names: ClassVar = {
        "fc_norm": "use_fc_norm",
        "reg_tokens": "num_reg_tokens",
        "pre_norm": "use_pre_transformer_norm",
    }

    def sequence_of(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch all dim"]:
        """Prefix and patch tokens of whole images as the first block takes them, by the model's own code."""
        self.check_whole()
        return self.model.norm_pre(self.model._pos_embed(self.model.patch_embed(images))[0])

    def check_whole(self) -> None:
        """Raise ValueError for a model that would drop patches at random."""
        if self.model.patch_drop is not None and self.model.training:
            raise ValueError("a model that drops patches at random has no positions here; use patch_drop_rate 0")

    @property
    def plain(self) -> bool:
        """Whether blocks take tokens alone."""
        return self.model.rope is None

    def calling(self, grid: Grid) -> Calling:
        """Blocks with the rotary rows of the tokens, from one table for the whole pass."""
        return plain_calls if self.plain else partial(rotary_call, rotary_table(self.model.rope, grid), grid)


def rotary_table(rope: Any, grid: Grid) -> Tensor:
    """The rotary rows of all positions of a grid: sines, then cosines."""
    own = getattr(rope, "feat_shape", None)
    if own is None or hasattr(rope, "freqs"):  # made for any grid
        return rope.get_embed(shape=list(grid))
    if tuple(own) != tuple(grid):
        rope = copy.deepcopy(rope)
        rope.update_feat_shape(list(grid))
    return rope.get_embed()


def with_appended(rows: Float[Tensor, "batch heads tokens row"], count: int) -> Tensor:
    """Rotary rows, and behind them those of so many appended tokens, which turn nothing: sines of 0, cosines of 1."""
    none = rows.new_zeros(*rows.shape[:2], count, rows.shape[-1] // 2)
    return torch.cat([rows, torch.cat([none, none + 1], dim=-1)], dim=2) if count else rows


def rows_at(table: Float[Tensor, "heads positions row"], ids: Int[Tensor, "batch tokens"]) -> Tensor:
    """The rows of a table at positions, image by image: batch x heads x tokens x row."""
    return table[:, ids].movedim(-3, 0)


def rows_by_block(
    table: Tensor, grid: Grid, ids: Int[Tensor, "batch tokens"], n_appended: int
) -> Callable[[int], Tensor]:
    """The rotary rows of patch and appended tokens, block by block."""
    by_block = table.ndim == 4  # depth x heads x positions x row, where each block has its own
    if ids.shape[1] == prod(grid) and not n_appended:
        return (lambda block: table[block]) if by_block else lambda _: table
    if by_block:
        return lambda block: with_appended(rows_at(table[block], ids), n_appended)
    rows = with_appended(rows_at(table[None], ids), n_appended)
    return lambda _: rows


def rotary_call(
    table: Tensor,
    grid: Grid,
    ids: Int[Tensor, "batch tokens"],
    n_prefix: int,
    n_appended: int,
    added: Tensor | None = None,
) -> Call:
    """What runs blocks over these tokens."""
    return RotaryCall(rows=rows_by_block(table, grid, ids, n_appended), n_prefix=n_prefix, added=added)


@dataclass(frozen=True, kw_only=True)
class RotaryCall(Call):
    """Blocks that take rotary rows. Their attention counts the prefix itself; where it is another, it is told so."""

    rows: Callable[[int], Tensor]
    n_prefix: int

    def __call__(self, index: int, block: Any, sequence: Float[Tensor, "batch all dim"]) -> Tensor:
        """What the block makes of the sequence."""
        if block.attn.num_prefix_tokens != self.n_prefix:
            block = with_attention(block, "num_prefix_tokens", self.n_prefix)
        return block(sequence, rope=self.rows(index), attn_mask=self.added)

    def attention(
        self, index: int, block: Any, sequence: Float[Tensor, "batch all dim"]
    ) -> Float[Tensor, "batch heads all all"]:
        """Attention inside the block over that sequence, from each token (row) to each."""
        half = getattr(block.attn, "rotate_half", False)  # attention of older versions of timm's has one way alone
        turned = partial(self.turned, self.rows(index), half)
        return attention_by_head(block, sequence, turned, 0.0 if self.added is None else self.added)

    def turned(self, rows: Tensor, half: bool, heads: Float[Tensor, "batch heads all head_dim"]) -> Tensor:
        """Queries or keys with patch tokens turned by their rows; the prefix is not."""
        prefix, others = heads.tensor_split([self.n_prefix], dim=2)
        return torch.cat([prefix, apply_rot_embed_cat(others, rows, half=half)], dim=2).type_as(heads)
