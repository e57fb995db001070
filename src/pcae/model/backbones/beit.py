"""timm's Beit and BeitV2: attention has a bias for each pair of positions, gathered for the tokens that are there."""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from timm.layers.pos_embed_rel import gen_relative_position_index, resize_rel_pos_bias_table
from timm.models.beit import Beit, Block
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.backbones.attention import attention_by_head
from pcae.model.backbones.backbone import Backbone, Call, Calling, with_attention
from pcae.model.tokens import Grid

TABLE = "relative_position_bias_table"


class BeitBackbone(Backbone):
    """timm's Beit. Appended tokens have no position: their bias is 0."""

    model_type = Beit
    block_types = (Block,)
    module = "beit"
    names: ClassVar = {"fc_norm": "use_fc_norm"}

    @property
    def prefix(self) -> list[nn.Parameter]:
        """The class token."""
        return [self.model.cls_token]

    def tables(self) -> list[str]:
        """The names of the tensors that are made for a grid."""
        return [*super().tables(), *(name for name, _ in self.model.named_parameters() if name.endswith(TABLE))]

    def check_table(self, name: str, table: Tensor, grid: Grid) -> None:
        """Raise ValueError for a table that is not of a grid."""
        if not name.endswith(TABLE):
            return super().check_table(name, table, grid)
        if len(table) != rows_of(grid):
            raise ValueError(f"{name} has {len(table)} rows, which are not those of a grid of {grid[0]} x {grid[1]}")

    def resized(self, name: str, table: Tensor, before: Grid) -> Tensor:
        """A table of another grid for the model's own, by timm's rule for its kind."""
        return resized(table, before, self.grid) if name.endswith(TABLE) else super().resized(name, table, before)

    def started(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Tokens with their positions, as the first block takes them."""
        return self.model.pos_drop(tokens)

    def sequence_of(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch all dim"]:
        """Class and patch tokens of whole images as the first block takes them."""
        tokens = self.model.patch_embed(images)
        sequence = torch.cat([self.model.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        table = self.model.pos_embed
        return self.model.pos_drop(sequence if table is None else sequence + table)

    @property
    def plain(self) -> bool:
        """Whether blocks take tokens alone."""
        return not any(name.endswith(TABLE) for name, _ in self.model.named_parameters())

    def calling(self, grid: Grid) -> Calling:
        """Blocks with the bias between the tokens; of a model that shares it, the same for all."""
        return sized_calls if self.plain else partial(self.biased_call, grid)

    def biased_call(
        self, grid: Grid, ids: Int[Tensor, "batch tokens"], n_prefix: int, n_appended: int, added: Tensor | None = None
    ) -> Call:
        """What runs blocks over these tokens."""
        pairs, shared = pairs_of(grid, ids, n_prefix), self.model.rel_pos_bias
        return BiasedCall(shared=shared, own=self.grid, grid=grid, pairs=pairs, n_appended=n_appended, added=added)


class SizedCall(Call):
    """Blocks without a table, which take what is added to attention under a name of their own."""

    def __call__(self, index: int, block: Any, sequence: Float[Tensor, "batch all dim"]) -> Tensor:
        """What the block makes of the sequence."""
        return block(sequence, shared_rel_pos_bias=self.added)


def sized_calls(ids: Tensor, n_prefix: int, n_appended: int, added: Tensor | None = None) -> Call:
    """Blocks without a table."""
    return SizedCall(added=added)


@dataclass(frozen=True, kw_only=True)
class BiasedCall(Call):
    """Blocks with a bias between tokens. Their attention, which knows the bias of whole images, is given none."""

    shared: Any
    own: Grid
    grid: Grid
    pairs: Int[Tensor, "batch all all"]
    n_appended: int

    def __call__(self, index: int, block: Any, sequence: Float[Tensor, "batch all dim"]) -> Tensor:
        """What the block makes of the sequence."""
        return with_attention(block, TABLE, None)(sequence, shared_rel_pos_bias=self.bias(block))

    def attention(
        self, index: int, block: Any, sequence: Float[Tensor, "batch all dim"]
    ) -> Float[Tensor, "batch heads all all"]:
        """Attention inside the block over that sequence, from each token (row) to each."""
        return attention_by_head(block, sequence, bias=self.bias(block))

    def bias(self, block: Any) -> Float[Tensor, "batch heads all all"]:
        """What a block adds to the products of queries and keys: its own bias and the shared one, where they are."""
        tables = [owner.relative_position_bias_table for owner in (self.shared, block.attn) if owner is not None]
        found = [bias_of(one, self.own, self.grid, self.pairs, self.n_appended) for one in tables if one is not None]
        found += [] if self.added is None else [self.added]
        return sum(found[1:], found[0])


def pairs_of(grid: Grid, ids: Int[Tensor, "batch tokens"], n_prefix: int) -> Int[Tensor, "batch all all"]:
    """The row of the table of biases for every pair of tokens of an image."""
    index = gen_relative_position_index(grid, class_token=True).to(ids.device)  # the class token's is the first
    prefix = ids.new_zeros(ids.shape[0], n_prefix)  # len() would fix an exported batch's size
    places = torch.cat([prefix, ids + 1], dim=1)
    return index[places[:, :, None], places[:, None, :]]


def rows_of(grid: Grid) -> int:
    """Rows of a table: a bias for every offset, and three for pairs with the class token."""
    return (2 * grid[0] - 1) * (2 * grid[1] - 1) + 3


def resized(table: Float[Tensor, "rows heads"], before: Grid, after: Grid) -> Float[Tensor, "others heads"]:
    """A table for another grid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's own code is told by torch how it will have to index
        return resize_rel_pos_bias_table(table, after, (rows_of(after), table.shape[1]), old_window_size=before)


def bias_of(
    table: Float[Tensor, "rows heads"], own: Grid, grid: Grid, pairs: Int[Tensor, "batch all all"], n_appended: int
) -> Float[Tensor, "batch heads more more"]:
    """The bias of every pair of tokens, 0 where one of them has no position; of another grid, by a resized table."""
    table = table if grid == own else resized(table, own, grid)
    bias = table[pairs].permute(0, 3, 1, 2)
    return F.pad(bias, (0, n_appended, 0, n_appended)).contiguous()
