"""Every family at the size that most people use, 224 x 224, in float32: encoder and reducer compute what timm does."""

import pytest
import timm
import torch
from torch import nn

import pcae
from pcae.model.encoder import Encoder
from pcae.model.tokens import patchify
from tests.model.test_backbones import together
from tests.weights.tiny import shaken

SMALL = {"embed_dim": 96, "depth": 4, "num_heads": 3}
MODELS = {
    "vit_tiny_patch16_224": {"img_size": 224},
    "vit_small_patch16_dinov3": {"img_size": 224},
    "eva02_tiny_patch14_224": {"img_size": 224},
    "beit_base_patch16_224": {"img_size": 224, **SMALL},
    "naflexvit_base_patch16_gap": SMALL,  # its table is of 24 x 24 positions, which timm resizes
}


def made(name: str) -> nn.Module:
    """The model in its own sizes where these are small, all of whose parts count."""
    torch.manual_seed(0)
    return shaken(timm.create_model(name, num_classes=5, **MODELS[name])).eval()


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    """To 1e-5 of the largest value: features of EVA-02, which has no last norm, are in the tens."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_whole_images_are_timms(name):
    model, images = made(name), torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    encoder, reduced = Encoder(model), pcae.reduce(model, drop_ratio=0.0)
    side = 224 // encoder.patch_size[0]
    ids = torch.arange(side**2).expand(2, -1)
    with torch.no_grad():
        expected = model.forward_features(images)
        assert expected.shape[1] == model.num_prefix_tokens + side**2
        assert_near(together(encoder(patchify(images, encoder.patch_size), ids, (side, side))), expected)
        assert_near(reduced.forward_features(images), expected)
        assert_near(reduced(images), model(images))
        fewer = pcae.reduce(model, drop_ratio=0.3).forward_features(images)
    assert fewer.shape[1] < model.num_prefix_tokens + 0.4 * side**2 and fewer.isfinite().all()
