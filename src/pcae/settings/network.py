"""The network: encoder and decoder."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pcae.settings.bounds import Count


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The network that is trained."""

    model: str = "vit_base_patch16_224"
    """Name of a timm VisionTransformer."""
    image_size: tuple[int, int] = (224, 224)
    """Height and width of the images in pixels."""
    patch_size: Count | None = None
    """Side of a patch in pixels; without it, the model's own."""
    channels: Count | None = None
    """Channels of the images; without it, 1 for `sample` and `fashion-mnist`, 3 for image files."""
    width: Count | None = None
    """Width of a token; without it, the model's own."""
    depth: Count | None = None
    """Number of blocks; without it, the model's own."""
    heads: Count | None = None
    """Attention heads of a block; without it, the model's own."""
    patch_scale: float = 1.0
    """Factor on the initial patch embedding; above 1, content weighs more against positions (for small patches)."""

    def __post_init__(self) -> None:
        """One number for the image size is both of its sides."""
        if isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", (self.image_size, self.image_size))

    if TYPE_CHECKING:  # what callers may give; the dataclass makes it

        def __init__(
            self,
            *,
            model: str = ...,
            image_size: int | tuple[int, int] = ...,
            patch_size: int | None = ...,
            channels: int | None = ...,
            width: int | None = ...,
            depth: int | None = ...,
            heads: int | None = ...,
            patch_scale: float = ...,
        ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The small transformer that predicts what the encoder did not see."""

    decoder_width: Count = 512
    """Width of the decoder's tokens; a multiple of 4 and of the heads."""
    decoder_depth: Count | None = None
    """Blocks of the decoder; without it 2, and 8 for mae (Table 15: 2 for classification, 6 or more for detection)."""
    decoder_heads: Count = 16
    """Attention heads of the decoder's blocks."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network, where no weights say what it is; with weights, only its image size can be chosen."""

    model: str | None = None
    """Name of a timm VisionTransformer, with --from-scratch; without it, vit_base_patch16_224."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images in pixels; without it, those of the weights, or 224 224. Positions are resized."""
    patch_size: int | None = None
    """Side of a patch in pixels, with --from-scratch; without it, the model's own."""
    channels: int | None = None
    """Channels of the images, with --from-scratch; without it, 1 for `sample` and `fashion-mnist`, else 3."""
    width: int | None = None
    """Width of a token, with --from-scratch; without it, the model's own."""
    depth: int | None = None
    """Number of blocks, with --from-scratch; without it, the model's own."""
    heads: int | None = None
    """Attention heads of a block, with --from-scratch; without it, the model's own."""
    patch_scale: float = 1.0
    """Factor on the initial patch embedding, with --from-scratch (for small patches)."""

    def encoder(self) -> EncoderConfig:
        """The encoder that is described."""
        return EncoderConfig(**{name: value for name, value in asdict(self).items() if value is not None})
