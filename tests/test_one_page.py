"""The method on one page is the method of the package: same weights, images and masks give the same."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch

from pcae.methods.pcae import PCAE
from pcae.model.encoder import Encoder
from pcae.model.reduced import reduce
from pcae.model.tokens import sincos_positions
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import DecoderConfig
from pcae.training.randomness import randomness

PAGE = Path(__file__).parents[1] / "docs" / "pcae_on_one_page.py"
SIDE, WIDTH = 8, 24


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("pcae_on_one_page", PAGE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def vit(page):
    """A small ViT in float64, so that rounding decides nothing, with a moving average that has moved away from it."""
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 4, "embed_dim": WIDTH, "depth": 12, "num_heads": 2}
    vit = timm.create_model("vit_tiny_patch16_224", **sizes, num_classes=5, global_pool="avg", fc_norm=False)
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    vit.pos_embed.data[0] = torch.cat([torch.zeros(1, WIDTH), page.positions(SIDE, WIDTH)])
    return vit.double()


@pytest.fixture
def images():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def both(page, vit):
    """The package's method and the page's decoder, with the same weights everywhere."""
    config = DecoderConfig(decoder_width=32, decoder_depth=2, decoder_heads=4)
    method = PCAE(Encoder(vit), PCAEConfig(mask_ratio=0.75, keep_ratio=0.5), config).double()
    for parameter in method.teacher.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    decoder = page.Decoder(WIDTH, SIDE, width=32, depth=2, heads=4).double()
    method.decoder.load_state_dict(decoder.state_dict())
    return method, decoder


def test_loss_gradients_and_kept_ids_are_the_packages(page, vit, images):
    method, decoder = both(page, vit)
    random = randomness(seed=3, step=5, batch_size=4, device=torch.device("cpu"))
    kept = []
    method.teacher.register_forward_hook(lambda _, __, targets: kept.append(targets.ids))
    ours = method(images, random).loss
    gradients = torch.autograd.grad(ours, vit.blocks.parameters())

    noise = random.uniform("mask", SIDE * SIDE)
    loss, wanted = page.pcae_loss(vit, method.teacher.encoder.vit, decoder, images, noise)

    assert torch.equal(wanted, kept[0]) and wanted.shape == (4, 6)  # 48 hidden, then 24, 12, 6
    torch.testing.assert_close(loss, ours)
    torch.testing.assert_close(torch.autograd.grad(loss, vit.blocks.parameters()), gradients)


def test_positions_are_the_packages(page):
    torch.testing.assert_close(page.positions(7, 96), sincos_positions((7, 7), 96))


@pytest.mark.parametrize("drop_ratio", [0.0, 0.1, 0.3, 0.4])
def test_the_dial_is_the_packages(page, vit, images, drop_ratio):
    torch.testing.assert_close(page.classify(vit, images, drop_ratio), reduce(vit, drop_ratio, fold="append")(images))


def test_it_fits_on_a_page_and_needs_no_package():
    text = PAGE.read_text()
    assert len(text.splitlines()) <= 150 and "import pcae" not in text and "from pcae" not in text
