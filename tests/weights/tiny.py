"""Tiny Vision Transformers with weights that matter, and images for them."""

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2}


def tiny_vit(name: str = "vit_tiny_patch16_224", seed: int = 0, **options) -> VisionTransformer:
    """A ViT of 4 x 4 patches whose 2 heads are those that files of its width are read with; the same one every time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vit = timm.create_model(name, **SIZES | {"num_heads": 2, "num_classes": 0} | options)
    return shaken(vit).eval()


def shaken(model: nn.Module) -> nn.Module:
    """The model with weights under which every part of it counts."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def pixels(side: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randint(256, (2, channels, side, side), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def assert_same_features(model, original: torch.Tensor, n_prefix: int = 1) -> None:
    """Prefix and patch tokens of `pcae.load`'s model equal the original's to 1e-5."""
    with torch.no_grad():
        encoded = model(pixels(model.facts.encoder.image_size[0], model.facts.encoder.channels))
    assert encoded.prefix.shape[1] == n_prefix
    torch.testing.assert_close(torch.cat([encoded.prefix, encoded.tokens], 1), original, rtol=1e-5, atol=1e-5)
