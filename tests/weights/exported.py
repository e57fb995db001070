"""Tiny models to export, and images for them."""

import torch

from pcae.model.encoder import EncoderConfig
from pcae.model.pretrained import Pretrained, PretrainedFacts, build_model
from tests.weights.tiny import shaken


def model_of(
    model: str = "vit_tiny_patch16_224",
    channels: int = 3,
    classes: list[str] | None = None,
    global_pool: str | None = None,
    **facts,
) -> Pretrained:
    """A model of 3 blocks on 32 x 48 pixels (4 x 6 patches) in which every part counts."""
    config = EncoderConfig(
        model=model, image_size=(32, 48), patch_size=8, channels=channels, width=24, depth=3, heads=2
    )
    pool = global_pool if global_pool is not None else "token" if classes else ""
    given = {"mean": [0.4] * channels, "std": [0.2] * channels, "classes": classes, "global_pool": pool}
    whole = build_model(PretrainedFacts(encoder=config, **given | facts)).eval()
    shaken(whole.encoder.vit)
    return whole


def pictures(model: Pretrained, batch: int) -> torch.Tensor:
    size = (batch, model.facts.encoder.channels, *model.facts.encoder.image_size)
    return torch.randint(256, size, generator=torch.Generator().manual_seed(batch), dtype=torch.uint8)
