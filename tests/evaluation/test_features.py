import pytest
import torch

from pcae.data.images import open_images
from pcae.evaluation.features import embed, raw_pixels
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings.network import EncoderConfig

CONFIG = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(28, 28), patch_size=7, channels=1, width=24, depth=2, heads=2
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Pretrained(build_encoder(CONFIG), PretrainedFacts(encoder=CONFIG, mean=[0.3], std=[0.3])).eval()


@pytest.fixture
def images():
    return open_images("sample", "test")


@pytest.mark.parametrize("how", ["mean", "cls"])
def test_features_are_timms_on_normalised_whole_images(model, images, how):
    features = embed(model, images, how)
    assert features.shape == (1000, 24) and torch.equal(features, embed(model, images, how))
    pixels = (torch.from_numpy(images.items[:5].copy())[:, None] / 255 - 0.3) / 0.3
    with torch.no_grad():
        expected = model.encoder.vit.forward_features(pixels)
    expected = expected[:, 0] if how == "cls" else expected[:, 1:].mean(1)
    torch.testing.assert_close(features[:5], expected, rtol=1e-5, atol=1e-5)


def test_images_of_other_channels_are_refused(model):
    with pytest.raises(ValueError, match="takes images of 1 channels, got 3"):
        embed(model, open_images("sample", channels=3))


def test_a_model_without_a_class_token_has_none_to_pool(images):
    import timm

    from pcae.model.encoder import Encoder

    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=28, patch_size=7, in_chans=1, depth=1, class_token=False, global_pool="avg"
    )
    bare = Pretrained(Encoder(vit), PretrainedFacts(encoder=CONFIG, mean=[0.3], std=[0.3])).eval()
    with pytest.raises(ValueError, match="use --pool mean"):
        embed(bare, images, "cls")


def test_raw_pixels_are_the_pixels(images):
    assert torch.equal(raw_pixels(images, (28, 28))[7], torch.from_numpy(images.items[7].copy()).flatten().float())
