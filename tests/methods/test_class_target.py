"""The teacher's class token as a target of the student's."""

import numpy as np
import pytest
import torch

from pcae.methods.pcae import PCAE
from pcae.model.encoder import Encoder, build_encoder
from pcae.model.tokens import gather, patchify
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import EncoderConfig
from pcae.training.randomness import randomness
from tests.methods.test_pcae import SMALL, visible_and_hidden
from tests.methods.test_teacher import WIDER

pytestmark = pytest.mark.trains

VIEWS = {"views": 2, "mask_ratio": 0.85, "pool_ratio": 0.25}
NO_CLASS = EncoderConfig(
    model="vit_base_patch16_gap_224", image_size=(32, 48), patch_size=8, channels=3, width=24, depth=6, heads=2
)


def make(encoder: Encoder, **options) -> PCAE:
    torch.manual_seed(1)
    return PCAE(encoder, PCAEConfig(class_target=True, **options), SMALL, build_encoder(WIDER)).double().eval()


def standardised(token: np.ndarray) -> np.ndarray:
    return (token - token.mean()) / np.sqrt(token.var() + 1e-5)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("norm", ["token", "none"])
def test_the_loss_is_that_of_patches_and_that_of_class_tokens(encoder, images, random, norm, layers):
    """Written out in float64 from timm's parts: the teacher's class token, and the student's through linear layers."""
    method, images = make(encoder, target_norm=norm, target_layers=layers), images.double()
    outputs = []
    for block in method.teacher.encoder.vit.blocks[-layers:]:
        block.register_forward_hook(lambda _, __, out: outputs.append(out[:, 0].detach()))
    result = method(images, random)
    of_blocks, vit = [one.numpy() for one in outputs], method.teacher.encoder.vit
    tokens = vit.norm(outputs[-1]).detach().numpy()
    targets = tokens if layers == 1 else np.mean([[standardised(row) for row in one] for one in of_blocks], axis=0)
    visible, _ = visible_and_hidden(random.uniform("mask", 24), 6)
    seen = method.student(gather(patchify(images, (8, 8)), torch.tensor(visible)), torch.tensor(visible), (4, 6))
    decoder = method.decoder
    predictions = decoder.head(decoder.norm(decoder.adapter(seen.prefix[:, 0]))).detach().numpy()
    distances = []
    for target, prediction in zip(targets, predictions, strict=True):
        target = standardised(target) if norm == "token" else target
        distances.append(1 - target @ prediction / np.sqrt((target @ target) * (prediction @ prediction)))
    np.testing.assert_allclose(result.signals["class_loss"].item(), np.mean(distances), atol=1e-6)
    torch.testing.assert_close(result.loss, result.signals["feature_loss"] + result.signals["class_loss"])


def test_the_teacher_runs_with_its_prefix_and_the_patches_are_what_it_then_keeps(encoder, images, random):
    method, images = make(encoder, target_norm="none"), images.double()
    _, hidden = visible_and_hidden(random.uniform("mask", 24), 6)
    patches, ids = gather(patchify(images, (8, 8)), torch.tensor(hidden)), torch.tensor(hidden)
    found = method.targets(patchify(images, (8, 8)), ids, random)
    expected = method.teacher.encoder(patches, ids, (4, 6), prefix=True, reduction=method.teacher.reduction)
    torch.testing.assert_close(found.features, expected.tokens)
    torch.testing.assert_close(found.class_token, expected.prefix[:, :1])
    plain = PCAE(encoder, PCAEConfig(), SMALL, build_encoder(WIDER)).double()
    assert plain.targets(patchify(images, (8, 8)), ids, random).class_token is None
    assert "class_loss" not in plain(images, random).signals


@pytest.mark.parametrize("options", [{}, VIEWS, {"pixel_weight": 0.3}])
def test_two_half_batches_are_one(encoder, images, random, options):
    method, images = make(encoder, **options), images.double()
    halves = [method(images[part * 2 : part * 2 + 2], random.part(part, 2)) for part in range(2)]
    whole = method(images, random)
    torch.testing.assert_close(whole.loss, torch.stack([half.loss for half in halves]).mean())
    mean = torch.stack([half.signals["class_loss"] for half in halves]).mean()
    torch.testing.assert_close(whole.signals["class_loss"], mean)


def test_every_view_has_its_own_class_token(encoder, images, random):
    """The loss of two views is the mean over both of one target's distance to what each predicts."""
    method, images, seen = make(encoder, **VIEWS), images.double(), []
    method.student.register_forward_hook(lambda _, __, out: seen.append(out.prefix))
    found = []
    method.teacher.register_forward_hook(lambda _, __, out: found.append(out.class_token))
    loss = method(images, random).signals["class_loss"]
    [prefix], [target] = seen, found
    decoder = method.decoder
    views = decoder.head(decoder.norm(decoder.adapter(prefix)))[..., :36].unflatten(0, (2, 4))
    expected = torch.stack([1 - torch.cosine_similarity(view, target, dim=-1).mean() for view in views]).mean()
    assert prefix.shape[0] == 8 and not torch.allclose(views[0], views[1])
    torch.testing.assert_close(loss, expected.detach())


def test_all_that_is_trained_gets_a_gradient(encoder, images):
    method = make(encoder).train()
    method(images.double(), randomness(0, 0, 4, images.device)).loss.backward()
    assert all(one.grad is not None for one in method.student.parameters() if one.requires_grad)
    assert all(one.grad is not None for one in method.decoder.parameters())
    assert all(one.grad is None for one in method.teacher.parameters())


def test_what_has_no_class_token_is_refused_with_the_remedy(encoder):
    config, without = PCAEConfig(class_target=True), build_encoder(NO_CLASS)
    with pytest.raises(ValueError, match=r"class_target needs a fixed teacher, .* give one \(--teacher\), or leave"):
        PCAE(encoder, config, SMALL)
    for student, teacher, who in ((without, encoder, "student"), (encoder, without, "teacher")):
        with pytest.raises(ValueError, match=rf"needs class tokens, the {who} has none; .* take a {who} that has one"):
            PCAE(student, config, SMALL, teacher)
