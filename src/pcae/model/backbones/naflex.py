"""timm's NaFlexVit, for images of one size at a time: positions of any grid, rotary ones too, linear patches."""

from typing import Any, ClassVar

import timm
import torch
from jaxtyping import Float
from timm.models.eva import EvaBlock
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.backbones.eva import EvaBackbone
from pcae.model.tokens import Grid


class NaFlexBackbone(EvaBackbone):
    """timm's NaFlexVit. Raises ValueError for parallel blocks."""

    model_type = NaFlexVit
    block_types = (Block, EvaBlock)
    module = "naflexvit"
    first_layer = "embeds.proj"
    names: ClassVar = {}

    @classmethod
    def options(cls, model: str, options: dict[str, Any]) -> dict[str, Any]:
        """timm's arguments: the table of positions is made for the grid of the images, as in a VisionTransformer."""
        side = options.get("patch_size")
        if side is None:
            with torch.device("meta"):
                side = NaFlexBackbone(timm.create_model(model)).patch_size[0]
        return options | {"pos_embed_grid_size": tuple(length // side for length in options["img_size"])}

    def check_embedding(self) -> None:
        """Raise ValueError for blocks of other kinds."""
        odd = next((type(block).__name__ for block in self.model.blocks if type(block) not in self.block_types), None)
        if odd:
            raise ValueError(f"only NaFlexVit's usual blocks are supported, got {odd}")

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return self.model.embeds.patch_size

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches of the table of positions."""
        return tuple(self.model.embeds.pos_embed_grid_size)  # a list, where it comes from a file

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.model.embeds.in_chans

    @property
    def projection(self) -> Tensor:
        """The weights of the patch embedding."""
        return self.model.embeds.proj.weight

    @property
    def has_class_token(self) -> bool:
        """Whether the prefix begins with a class token."""
        return self.model.embeds.cls_token is not None

    @property
    def positions(self) -> nn.Parameter | None:
        """The table of learned positions, 1 x rows x columns x width, or None where rows and columns have their own."""
        return self.model.embeds.pos_embed

    @property
    def prefix(self) -> list[nn.Parameter]:
        """Class and register tokens."""
        return [part for part in (self.model.embeds.cls_token, self.model.embeds.reg_token) if part is not None]

    def embed(self, patches: Float[Tensor, "batch tokens patch_dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The patch embedding as a matrix product over patches (channels x height x width each), without positions."""
        embeds = self.model.embeds
        if embeds.is_linear and embeds.channels_last:
            patches = patches.unflatten(-1, (self.channels, -1)).transpose(-1, -2).flatten(-2)
        if embeds.norm_input is not None:
            patches = embeds.norm_input(patches)
        return embeds.norm(F.linear(patches, embeds.proj.weight.flatten(1), embeds.proj.bias))

    def positions_of(self, grid: Grid) -> tuple[Tensor | None, Tensor | None]:
        """Positions of the patches of a grid, by the model's own code; the prefix has none."""
        embeds = self.model.embeds
        if embeds.pos_embed_type == "none":
            return None, None
        table = self.projection.new_zeros(1, grid[0] * grid[1], self.model.embed_dim)
        learned = embeds.pos_embed_type == "learned"
        (embeds._apply_learned_pos_embed if learned else embeds._apply_factorized_pos_embed)(table, grid_size=grid)
        return None, table

    def tables(self) -> list[str]:
        """The names of the tensors that are made for a grid."""
        return [] if self.positions is None else ["embeds.pos_embed"]

    def check_table(self, name: str, table: Tensor, grid: Grid) -> None:
        """Raise ValueError for a table that is not of a grid."""
        if tuple(table.shape[1:3]) != tuple(grid):
            raise ValueError(f"{name} is of a grid of {tuple(table.shape[1:3])}, not {tuple(grid)}")

    def resized(self, name: str, table: Tensor, before: Grid) -> Tensor:
        """A table of another grid for the model's own: bicubic in float32 with antialias."""
        return super().resized(name, table.flatten(1, 2), before).unflatten(1, self.grid)

    def started(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Tokens with their positions, as the first block takes them."""
        return self.model.norm_pre(self.model.embeds.pos_drop(tokens))

    def sequence_of(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch all dim"]:
        """Prefix and patch tokens of whole images as the first block takes them, by the model's own code.

        Raises ValueError for patches in their place.
        """
        check_images(images)
        self.check_whole()
        return self.model.norm_pre(self.model.embeds(images)[0])

    def grid_of(self, images: Float[Tensor, "batch channels height width"]) -> Grid:
        """Rows and columns of patches of images."""
        return images.shape[-2] // self.patch_size[0], images.shape[-1] // self.patch_size[1]


def check_images(images: Any) -> None:
    """Raise ValueError, with the remedy, for patches as timm's NaFlexVit takes them, in a dict say."""
    if isinstance(images, Tensor) and images.ndim == 4:
        return
    given = f"a dict of {', '.join(images)}" if isinstance(images, dict) else f"shape {tuple(images.shape)}"
    raise ValueError(
        f"a NaFlexVit that drops tokens takes whole images of one size, batch x channels x height x width, got "
        f"{given}; give the images, those of other sizes in a batch of their own, or call the model that is held: .vit"
    )
