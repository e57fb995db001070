from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcae.data.images import Images, open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.attentive import AttentiveHeads
from pcae.evaluation.features import embed, raw_pixels
from pcae.evaluation.frozen import Recomputed, freeze, token_bytes
from pcae.evaluation.probes import Examples, Standardise, fit
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings.network import EncoderConfig
from pcae.settings.trained import ProbeTrainingConfig

CONFIG = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(16, 24), patch_size=8, channels=3, width=24, depth=2, heads=2
)


@pytest.fixture
def model() -> Pretrained:
    torch.manual_seed(0)
    return Pretrained(build_encoder(CONFIG), PretrainedFacts(encoder=CONFIG, mean=[0.4] * 3, std=[0.3] * 3)).eval()


@pytest.fixture
def images(tmp_path) -> Images:
    """60 noisy pictures, the red ones brighter at the left, the blue ones at the right."""
    chance = np.random.default_rng(0)
    for index in range(60):
        colour = ("red", "blue")[index % 2]
        pixels = chance.integers(0, 200, (16, 24, 3), dtype=np.uint8)
        pixels[:, (slice(8), slice(16, 24))[index % 2]] += 40
        (tmp_path / colour).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / colour / f"{index:02d}.png")
    return open_images(str(tmp_path))


def test_one_look_at_each_image_gives_all_features(model, images, monkeypatch):
    opened = []
    plainly = Images.source
    monkeypatch.setattr(Images, "source", lambda self, index: opened.append(index) or plainly(self, index))
    frozen = freeze(model, BadFiles(images, 0.0), ["mean", "cls"], pixels=True, cache_tokens=True)
    assert opened == list(range(60))
    monkeypatch.undo()
    assert list(frozen.pooled) == ["mean", "cls", "raw pixels"]
    for how in ("mean", "cls"):
        assert frozen.pooled[how].values.dtype == torch.float32
        torch.testing.assert_close(frozen.pooled[how].values, embed(model, images, how))
    torch.testing.assert_close(frozen.pooled["raw pixels"].values, raw_pixels(images, (16, 24)))
    (tokens,) = frozen.tokens.batches(torch.arange(60), 60)
    assert tokens.shape == (60, 6, 24) and token_bytes(model, 60) == tokens.numel() * 2
    torch.testing.assert_close(tokens.mean(1), embed(model, images), atol=2e-3, rtol=0)


def test_unreadable_images_have_no_row_anywhere(model, images):
    Path(images.names[3]).write_bytes(b"torn")
    frozen = freeze(model, BadFiles(images, 0.1), ["mean"], cache_tokens=True)
    assert [len(part) for part in (frozen.images, frozen.labels, frozen.pooled["mean"], frozen.tokens)] == [59] * 4
    assert frozen.labels.tolist() == [label for index, label in enumerate(images.labels or []) if index != 3]
    left = images.without({3})
    torch.testing.assert_close(frozen.pooled["mean"].values, embed(model, left))
    (tokens,) = frozen.tokens.batches(torch.tensor([58]), 1)
    torch.testing.assert_close(tokens.mean(1), embed(model, left)[58:], atol=2e-3, rtol=0)


def test_cached_and_recomputed_tokens_give_the_same_probe(model, images):
    kept, anew = (freeze(model, BadFiles(images, 0.0), ["mean"], cache_tokens=cache) for cache in (True, False))
    assert isinstance(anew.tokens, Recomputed) and len(anew.tokens) == 60
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(2))[:45]
    for one, other in zip(kept.tokens.batches(rows, 20), anew.tokens.batches(rows, 20), strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)
    (tokens,) = kept.tokens.batches(torch.arange(60), 60)
    logits = [trained(Examples(frozen.tokens, frozen.labels), rows)(tokens) for frozen in (kept, anew)]
    torch.testing.assert_close(logits[0], logits[1], atol=1e-2, rtol=0)
    assert logits[0].std() > 0.1


def trained(examples: Examples, rows: torch.Tensor) -> torch.nn.Module:
    module = AttentiveHeads(Standardise(examples.features, 16), 2, 2, 1, seed=0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    return fit(module, optimizer, examples, rows, ProbeTrainingConfig(epochs=4, batch_size=16))


def test_an_image_that_is_gone_when_it_is_wanted_again_is_named(model, images):
    frozen = freeze(model, BadFiles(images, 0.0), ["mean"])
    Path(images.names[7]).write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"1 of 60 images cannot be read.*15\.png"):
        list(frozen.tokens.batches(torch.arange(60), 16))
