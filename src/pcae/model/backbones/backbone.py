"""timm's VisionTransformer, and what every family answers: how tokens begin, and what blocks take beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.backbones.attention import attention_by_head, mean_keys
from pcae.model.tokens import Grid


@dataclass(frozen=True, kw_only=True)
class Call:
    """What runs a block, by its number, over a sequence: prefix, patch and appended tokens. These take tokens alone.

    added: what is added to the attention that each token of the sequence gets; None for nothing.
    """

    added: Float[Tensor, "batch 1 1 all"] | None = None

    def __call__(self, index: int, block: Any, sequence: Float[Tensor, "batch all dim"]) -> Tensor:
        """What the block makes of the sequence."""
        return block(sequence) if self.added is None else block(sequence, attn_mask=self.added)

    def keys(self, block: Any, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens head_dim"]:
        """Keys of some tokens that enter the block, averaged over its heads, before positions turn them.

        Raises ValueError, by name, for a block whose attention cannot be looked at.
        """
        return mean_keys(block, tokens)

    def attention(
        self, index: int, block: Any, sequence: Float[Tensor, "batch all dim"]
    ) -> Float[Tensor, "batch heads all all"]:
        """Attention inside the block over that sequence, from each token (row) to each.

        Raises ValueError, by name, for a block whose attention cannot be looked at.
        """
        return attention_by_head(block, sequence, bias=0.0 if self.added is None else self.added)


Calling = Callable[[Tensor, int, int, Tensor | None], Call]
"""What runs blocks over the patch tokens at these positions, a prefix of so many tokens before them and so many
appended ones behind them; and what is added to the attention that each of all these gets."""


def plain_calls(ids: Tensor, n_prefix: int, n_appended: int, added: Tensor | None = None) -> Call:
    """Blocks that take tokens alone."""
    return Call(added=added)


class Backbone:
    """A model of the family as pcae runs it. It holds the model and changes nothing in it.

    Raises ValueError for a patch embedding that is not linear.
    """

    model_type: type[nn.Module] = VisionTransformer
    block_types: tuple[type[nn.Module], ...] = (Block,)
    module = "vision_transformer"
    """timm's module of the family."""
    first_layer = "patch_embed.proj"
    """timm's name of what images go into first."""

    names: ClassVar[Mapping[str, str]] = {}
    """What the family calls arguments of a VisionTransformer."""

    @classmethod
    def options(cls, model: str, options: dict[str, Any]) -> dict[str, Any]:
        """timm's arguments for a model of that name, from those of a VisionTransformer."""
        return {cls.names.get(name, name): value for name, value in options.items()}

    def __init__(self, model: Any) -> None:
        self.model = model
        self.check_embedding()

    def check_embedding(self) -> None:
        """Raise ValueError for a patch embedding that is not linear."""
        if type(self.model.patch_embed) is not PatchEmbed:
            name = type(self.model.patch_embed).__name__
            raise ValueError(f"only a linear patch embedding is supported, got {name}")

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        height, width = self.model.patch_embed.patch_size
        return int(height), int(width)

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches that the model was built for."""
        return self.model.patch_embed.grid_size

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.model.patch_embed.proj.in_channels

    @property
    def projection(self) -> Tensor:
        """The weights of the patch embedding."""
        return self.model.patch_embed.proj.weight

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of the images that the model was built for."""
        return self.grid[0] * self.patch_size[0], self.grid[1] * self.patch_size[1]

    @property
    def has_class_token(self) -> bool:
        """Whether the prefix begins with a class token."""
        return self.model.cls_token is not None

    @property
    def positions(self) -> nn.Parameter | None:
        """The table of learned positions, prefix first, or None."""
        return self.model.pos_embed

    @property
    def prefix(self) -> list[nn.Parameter]:
        """Class, distillation and register tokens, in their order."""
        return [part for part in (self.model.cls_token, self.model.reg_token) if part is not None]

    def embed(self, patches: Float[Tensor, "batch tokens patch_dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The patch embedding as a matrix product over patches (channels x height x width each), without positions."""
        embedding = self.model.patch_embed
        return embedding.norm(F.linear(patches, embedding.proj.weight.flatten(1), embedding.proj.bias))

    def positions_of(self, grid: Grid) -> tuple[Tensor | None, Tensor | None]:
        """Learned positions of the prefix (None where it has none) and of the patches; resized for another grid."""
        table = self.positions
        if table is None:
            return None, None
        n_prefix = table.shape[1] - prod(self.grid)
        if grid != self.grid:
            table = resample_abs_pos_embed(table, list(grid), list(self.grid), num_prefix_tokens=n_prefix)
        return (table[:, :n_prefix] if n_prefix else None), table[:, n_prefix:]

    def tables(self) -> list[str]:
        """The names of the tensors that are made for a grid."""
        return [] if self.positions is None else ["pos_embed"]

    def check_table(self, name: str, table: Tensor, grid: Grid) -> None:
        """Raise ValueError for a table that is not of a grid."""
        n_prefix = self.model.get_parameter(name).shape[1] - prod(self.grid)
        if table.shape[1] != n_prefix + prod(grid):
            raise ValueError(
                f"{name} has {table.shape[1]} positions, which are not {n_prefix} and a grid of {grid[0]} x {grid[1]}"
            )

    def resized(self, name: str, table: Tensor, before: Grid) -> Tensor:
        """A table of another grid for the model's own: bicubic in float32 with antialias; what the prefix has stays."""
        n_prefix = table.shape[1] - prod(before)
        return resample_abs_pos_embed(table, list(self.grid), list(before), num_prefix_tokens=n_prefix)

    def started(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Tokens with their positions, as the first block takes them."""
        return self.model.norm_pre(self.model.pos_drop(tokens))

    def sequence_of(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch all dim"]:
        """Prefix and patch tokens of whole images as the first block takes them, by the model's own code."""
        return self.model.norm_pre(self.model.patch_drop(self.model._pos_embed(self.model.patch_embed(images))))

    def grid_of(self, images: Float[Tensor, "batch channels height width"]) -> Grid:
        """Rows and columns of patches of images."""
        return self.model.patch_embed.dynamic_feat_size(images.shape[-2:])

    @property
    def plain(self) -> bool:
        """Whether blocks take tokens alone."""
        return True

    def calling(self, grid: Grid) -> Calling:
        """What runs blocks in one pass over images of a grid; it is asked anew whenever tokens were dropped."""
        return plain_calls


def with_attention(block: Any, name: str, value: Any) -> Any:
    """The block with an attention that finds this value under a name. All weights are the block's own."""
    return with_parts(block, attn=twin_of(block.attn, **{name: value}))


def with_parts(block: Any, **parts: nn.Module) -> Any:
    """The block with other parts under these names. What stays is the block's own.

    Nothing of the block is changed: others may run it at the same time. What comes of it is not compiled.
    """
    return twin_of(block, _modules={**vars(block)["_modules"], **parts}, _compiled_call_impl=None)


def twin_of(module: Any, **others: Any) -> Any:
    """A module that shares all that the module holds, but for what is given under these names: a copy that
    torch.compile can follow, as it can not copy.copy."""
    twin = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin.__dict__.update(others)
    return twin


class Nothing(nn.Module):
    """In the place of a part of a block: zeros."""

    def forward(self, sequence: Tensor, **_: Any) -> Tensor:
        """Zeros."""
        return torch.zeros_like(sequence)


def attention_half(block: Any) -> Any:
    """The block without its MLP: what it adds by attention."""
    return with_parts(block, norm2=Nothing(), mlp=Nothing())


def mlp_half(block: Any) -> Any:
    """The block without its attention, whatever else it would take: what it adds by its MLP."""
    return with_parts(block, norm1=Nothing(), attn=Nothing())
