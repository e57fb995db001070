"""A timm Vision Transformer run block by block, with or without a reduction."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import timm
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pcae.model.architecture import parts_of
from pcae.model.backbones import SUPPORTED, ViT, backbone_of, check_family, names_of_families, options_of
from pcae.model.backbones.backbone import Backbone, Calling
from pcae.model.blocks import Encoded, run_blocks
from pcae.model.checks import check_normalised, check_shape
from pcae.model.reduction import Reduction
from pcae.model.tokens import Grid, all_ids, gather, grid_of, patchify, sincos_positions
from pcae.settings.bounds import check_bounds
from pcae.settings.network import EncoderConfig


def plain_vit(model: nn.Module, name: str | None = None) -> ViT:
    """`model`, which must be of one of timm's families in `backbones`; else ValueError, by name, with what works.

    The type is that of the most usual one, whose names for blocks, norms and classifiers all share.
    """
    return backbone_of(model, name).model


class Encoder(nn.Module):
    """A timm VisionTransformer that takes the pixels of the wanted patches instead of whole images.

    Positions of the grid that the model was built for are its own; for other grids they are resized in float32
    with antialias. `encoder.vit.state_dict()` has timm's names.
    """

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = plain_vit(vit)

    @property
    def backbone(self) -> Backbone:
        """What the model's family does otherwise than others."""
        return backbone_of(self.vit)

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return self.backbone.patch_size

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches that the model was built for."""
        return self.backbone.grid

    @property
    def patch_values(self) -> int:
        """Values of a patch: channels x height x width."""
        return self.backbone.projection[0].numel()

    @property
    def has_class_token(self) -> bool:
        """Whether the prefix begins with a class token."""
        return self.backbone.has_class_token

    @property
    def width(self) -> int:
        """Features of a token."""
        return self.vit.embed_dim

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.vit.blocks)

    @property
    def heads(self) -> int:
        """Attention heads of a block."""
        return int(self.backbone.model.blocks[0].attn.num_heads)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of the images that the model was built for."""
        return self.backbone.image_size

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.backbone.channels

    def forward(
        self,
        patches: Float[Tensor, "batch tokens patch_dim"] | Float[Tensor, "batch channels height width"],
        ids: Int[Tensor, "batch tokens"] | None = None,
        grid: Grid | None = None,
        *,
        prefix: bool = True,
        reduction: Reduction | None = None,
        record: Iterable[int] = (),
    ) -> Encoded:
        """Encode the patches that stand at `ids` (ascending) of `grid`; all but `recorded` has passed the final norm.

        Without ids: whole normalised images. grid: without it the model's own; for another, positions are resized.
        prefix=False leaves CLS and register tokens out (the teacher). Raises ValueError for a patch of another size,
        and for images of another size or type.
        """
        if ids is None:
            patches = self.patches_of(patches, grid)
            ids = all_ids(patches.shape[0], patches.shape[1], patches.device)
        grid = self.grid if grid is None else grid
        return self.encode(self.embed(patches), ids, grid, prefix=prefix, reduction=reduction, record=record)

    def patches_of(
        self, images: Float[Tensor, "batch channels height width"], grid: Grid | None = None
    ) -> Float[Tensor, "batch tokens patch_dim"]:
        """The patches of whole normalised images.

        Raises ValueError for images of another size than the grid's, other channels, and pixels in whole numbers.
        """
        rows, columns = self.grid if grid is None else grid
        check_shape(images, self.channels, (rows * self.patch_size[0], columns * self.patch_size[1]))
        check_normalised(images)
        return patchify(images, self.patch_size)

    def encode(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        ids: Int[Tensor, "batch tokens"],
        grid: Grid,
        *,
        prefix: bool = True,
        reduction: Reduction | None = None,
        record: Iterable[int] = (),
        around: Callable[[Calling], Calling] = lambda calling: calling,
    ) -> Encoded:
        """The same from embedded patches on, among which mask tokens may stand (SimMIM); without positions yet.

        around: makes what runs blocks of what does so in this family (windowed attention).
        """
        vit, backbone = self.vit, self.backbone
        prefix_positions, positions = backbone.positions_of(grid)
        if positions is not None:
            tokens = tokens + gather(positions.expand(len(ids), -1, -1), ids)
        none = tokens.new_empty(1, 0, self.width)
        heads = torch.cat([none, *backbone.prefix], dim=1) if prefix else none
        if prefix and backbone.prefix and prefix_positions is not None:
            heads = heads + prefix_positions
        tokens, heads = map(backbone.started, (tokens, heads))
        heads, again = heads.expand(len(ids), -1, -1), vit.grad_checkpointing
        calling = around(backbone.calling(grid))
        encoded = run_blocks(
            vit.blocks, tokens, ids, heads, reduction, record,
            grad_checkpointing=again, class_token=backbone.has_class_token, calling=calling,
        )  # fmt: skip
        return replace(
            encoded,
            prefix=vit.norm(encoded.prefix),
            tokens=vit.norm(encoded.tokens),
            appended=vit.norm(encoded.appended),
        )

    def embed(self, patches: Float[Tensor, "batch tokens patch_dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The patch embedding as a matrix product over gathered patches, without positions."""
        wanted = self.patch_values
        if patches.shape[-1] != wanted:
            raise ValueError(f"patches of {wanted} values are expected (channels x sides), got {patches.shape[-1]}")
        return self.backbone.embed(patches)


def create_vit(config: EncoderConfig, *, channels: int, **options: Any) -> ViT:
    """timm's model of that name, with the options behind it, at the configured sizes.

    Raises ValueError for unknown names and other families.
    """
    sizes: dict[str, Any] = {
        "patch_size": config.patch_size,
        "embed_dim": config.width,
        "depth": config.depth,
        "num_heads": config.heads,
    }
    sizes = {name: value for name, value in sizes.items() if value is not None}
    model, others = parts_of(config.model)
    check_known(model)
    check_sizes(config)
    check_family(model, config.model)
    try:
        options = {"img_size": config.image_size, "in_chans": channels, **sizes, **others, **options}
        vit = plain_vit(timm.create_model(model, **options_of(model, options)), config.model)
    except TypeError as error:
        reason = f"timm says {str(error).rpartition(': ')[2] or error}"
        raise ValueError(f"model {config.model!r} cannot be made: {reason}; {SUPPORTED}") from error
    except AssertionError as error:
        raise ValueError(f"model {config.model!r} does not work with {sizes}: {error}") from error
    grid_of(config.image_size, Encoder(vit).patch_size)
    return vit


def check_known(model: str) -> None:
    """Raise ValueError, with near names, for a model that timm does not know."""
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, names_of_families(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else "; see timm.list_models('vit_*')"
        raise ValueError(f"model {model!r} is not known to timm{hint}")


def check_sizes(config: EncoderConfig) -> None:
    """Raise ValueError for sizes that no model can have, and a scale that no weight can."""
    check_bounds(config)
    if not is_size(config.image_size):
        raise ValueError(f"image_size is one whole number, or height and width, in pixels; got {config.image_size!r}")
    if min(config.image_size) < (config.patch_size or 1):
        raise ValueError(f"image_size {config.image_size} must not be smaller than a patch")
    if not 0 < config.patch_scale < float("inf"):
        raise ValueError(f"patch_scale must be positive and finite, got {config.patch_scale:g}")


def is_size(value: Any) -> bool:
    """Whether this is a height and a width."""
    return isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(side, int) for side in value)


def config_of(model: str, image_size: int | tuple[int, int] | None) -> EncoderConfig:
    """timm's network of that name, for images of `image_size`, or else of the size that it is named for."""
    name, _ = parts_of(model)
    check_known(name)
    usual = timm.get_pretrained_cfg(name)
    own = EncoderConfig.image_size if usual is None else usual.input_size[1:]
    return EncoderConfig(model=model, image_size=own if image_size is None else image_size)


def build_encoder(config: EncoderConfig | str, image_size: int | tuple[int, int] | None = None) -> Encoder:
    """A new encoder with fixed sine-cosine positions and MAE's initialisation (Xavier; tokens normal, .02).

    config: or the name of a timm VisionTransformer. image_size: height and width in pixels, or one number for both, in
    place of the configured or the model's own. Raises ValueError for unknown names, other families and sizes that do
    not fit.
    """
    if isinstance(config, str):
        config = config_of(config, image_size)
    elif image_size is not None:
        config = replace(config, image_size=image_size)
    encoder = Encoder(create_vit(config, channels=config.channels or 3, num_classes=0, global_pool=""))
    backbone = encoder.backbone
    initialise(encoder.vit)
    with torch.no_grad():
        weight = backbone.projection
        nn.init.xavier_uniform_(weight.flatten(1))
        weight.mul_(config.patch_scale)
        if backbone.positions is not None:
            fix_positions(backbone.positions, encoder)
        for token in backbone.prefix:
            nn.init.normal_(token, std=0.02)
    return encoder


def fix_positions(table: nn.Parameter, encoder: Encoder) -> None:
    """Put sine-cosine positions into a table, 0 for the prefix; they are not trained."""
    positions = sincos_positions(encoder.grid, encoder.width)
    table.zero_()
    table.view(1, -1, encoder.width)[:, -len(positions) :] = positions
    table.requires_grad_(False)


def set_norm_eps(module: nn.Module, eps: float) -> None:
    """Give all layer norms this epsilon."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = eps


def initialise(module: nn.Module) -> None:
    """MAE's initialisation of linear layers and norms, in place."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm) and part.elementwise_affine:
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
