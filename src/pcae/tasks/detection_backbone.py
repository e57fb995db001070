"""An encoder as the backbone of a detector: images -> maps at strides 4, 8, 16, 32 and 64."""

from collections import OrderedDict
from functools import partial

import torch
from jaxtyping import Float, Int
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from pcae.model.backbones.backbone import Calling
from pcae.model.encoder import Encoder
from pcae.model.reduction import Reduction
from pcae.model.tokens import Grid, all_ids, grid_of, patchify, present, put_back, upcast
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.pyramid import STRIDES, SimplePyramid, feature_pyramid, rescale
from pcae.tasks.windows import in_windows

USED = ("patch_embed.", "pos_embed", "norm_pre.", "blocks.", "rope.", "rel_pos_bias.", "embeds.")
"""Starts of the names of a ViT's weights that a backbone uses."""


class DetectionBackbone(nn.Module):
    """Maps of an encoder's blocks at four scales, and a pyramid over them.

    No class or register token stands in the sequence, as in ViTDet: nothing reads them, and they belong to no window.
    Each recorded block has a layer norm of its own, since the scale of a ViT's features grows with the depth and
    torchvision's FPN has no norms; the ViT's final norm is left out. What is not used of the ViT is not trained.
    """

    def __init__(self, encoder: Encoder, config: DetectionConfig) -> None:
        super().__init__()
        self.encoder, self.out_channels, self.window = encoder, config.pyramid_channels, config.window
        self.global_blocks = global_blocks(config, encoder.depth)
        reduction = Reduction(keep=1 - config.drop_ratio, after=config.reduce_after, fold="append")
        self.reduction = reduction if config.reduce_after else None
        width, patch_size, fpn = encoder.width, encoder.patch_size[0], config.pyramid == "fpn"
        self.recorded = quarters(encoder.depth) if fpn else (encoder.depth - 1,)
        self.norms = nn.ModuleList(LayerNorm2d(width) for _ in self.recorded)
        self.scales = nn.ModuleList(rescale(width, patch_size, stride) for stride in STRIDES)
        self.pyramid = (feature_pyramid if fpn else SimplePyramid)(width, config.pyramid_channels)
        for name, parameter in encoder.vit.named_parameters():
            if not name.startswith(USED):
                parameter.requires_grad_(False)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> dict[str, Float[Tensor, "batch pyramid _height _width"]]:
        """The pyramid of normalised images, whose sides are multiples of the patch and of 32, in float32 at least."""
        dense = self.token_maps(images)
        normed = [norm(dense[block]) for norm, block in zip(self.norms, self.recorded, strict=True)]
        normed *= len(STRIDES) // len(normed)
        maps = OrderedDict((str(level), scale(normed[level])) for level, scale in enumerate(self.scales))
        return OrderedDict((name, upcast(one)) for name, one in self.pyramid(maps).items())

    def token_maps(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> dict[int, Float[Tensor, "batch dim rows columns"]]:
        """By block, its output at every position, before any norm."""
        grid = grid_of((images.shape[2], images.shape[3]), self.encoder.patch_size)
        tokens = self.encoder.embed(patchify(images, self.encoder.patch_size))
        encoded = self.encoder.encode(
            tokens,
            all_ids(tokens.shape[0], tokens.shape[1], tokens.device),
            grid,
            prefix=False,
            reduction=self.reduction,
            record={*self.recorded, *(self.reduction.after if self.reduction else ())},
            around=partial(self.calling, grid=grid),
        )
        return filled_maps(encoded.recorded, grid)

    def calling(self, calling: Calling, grid: Grid) -> Calling:
        """What runs the encoder's blocks, in windows where asked."""
        return calling if self.window is None else in_windows(calling, grid, self.window, self.global_blocks)


def quarters(depth: int) -> tuple[int, ...]:
    """The last block of each quarter, counted from 0: 2, 5, 8, 11 of 12."""
    return tuple((quarter + 1) * depth // 4 - 1 for quarter in range(4))


def global_blocks(config: DetectionConfig, depth: int) -> tuple[int, ...]:
    """Blocks that attend to the whole image whether or not there are windows."""
    return quarters(depth) if config.global_blocks is None else config.global_blocks


def filled_maps(
    recorded: dict[int, tuple[Float[Tensor, "batch _tokens dim"], Int[Tensor, "batch _tokens"]]], grid: Grid
) -> dict[int, Float[Tensor, "batch dim rows columns"]]:
    """By recorded block, a map with every position filled: dropped tokens have the features with which they left.

    For that the block after which a reduction stands must be among the recorded, and the first of them be whole.
    """
    maps, last = {}, None
    for block, (tokens, ids) in sorted(recorded.items()):
        dense = put_back(tokens, ids, grid)
        if last is not None and ids.shape[1] < grid[0] * grid[1]:
            dense = torch.where(present(ids, grid).unsqueeze(1), dense, last)
        maps[block] = last = dense
    return maps
