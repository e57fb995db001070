"""Token maps of one scale -> maps at strides 4, 8, 16 and 32, and the pyramid that a detector reads."""

from collections import OrderedDict

from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

STRIDES = (4, 8, 16, 32)
"""Pixels of the image from one position of a map to the next, by level; a fifth level is every other position."""


def rescale(width: int, patch_size: int, stride: int) -> nn.Module:
    """What brings a token map to a stride: transposed convolutions that double it, identity, or max-pooling.

    Between two transposed convolutions stand a norm and GELU. Their weights start such that the maps of all strides
    have about the same variance.
    """
    if patch_size <= stride:
        return nn.Identity() if patch_size == stride else nn.MaxPool2d(stride // patch_size)
    parts: list[nn.Module] = []
    while patch_size > stride:
        doubling = nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
        nn.init.normal_(doubling.weight, std=width**-0.5)
        nn.init.zeros_(doubling.bias)  # pyright: ignore[reportArgumentType]  # it has one
        parts += [doubling, LayerNorm2d(width), nn.GELU()]
        patch_size //= 2
    return nn.Sequential(*parts[:-2])


def feature_pyramid(width: int, channels: int) -> FeaturePyramidNetwork:
    """torchvision's FPN over the four maps, with the fifth level."""
    return FeaturePyramidNetwork([width] * len(STRIDES), channels, extra_blocks=LastLevelMaxPool())


class SimplePyramid(nn.Module):
    """ViTDet's: every map by itself, through a 1 x 1 and a 3 x 3 convolution with a norm each; and the fifth level."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, channels, 1, bias=False),
                LayerNorm2d(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                LayerNorm2d(channels),
            )
            for _ in STRIDES
        )
        self.top = LastLevelMaxPool()

    def forward(
        self, maps: dict[str, Float[Tensor, "batch dim _height _width"]]
    ) -> dict[str, Float[Tensor, "batch channels _height _width"]]:
        """The pyramid of maps whose names are in the order of their strides."""
        results = [level(one) for level, one in zip(self.levels, maps.values(), strict=True)]
        results, names = self.top(results, [], list(maps))
        return OrderedDict(zip(names, results, strict=True))
