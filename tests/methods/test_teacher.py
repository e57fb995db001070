from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate

from pcae.methods.discarding import DiscardingMAE
from pcae.methods.pcae import PCAE
from pcae.model.encoder import build_encoder
from pcae.model.tokens import gather, patchify, split
from pcae.settings.methods import DiscardingMAEConfig, PCAEConfig
from pcae.settings.network import EncoderConfig
from pcae.training.loop import Progress
from tests.methods.test_pcae import SMALL

pytestmark = pytest.mark.trains

WIDER = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(32, 48), patch_size=8, channels=3, width=36, depth=4, heads=3
)


def targets_of(method, images, random):
    patches = patchify(images, (8, 8))
    _, hidden = split(random.uniform("mask", 24), method.n_visible)
    return method.teacher(gather(patches, hidden), hidden, random), hidden


def test_a_fixed_teacher_may_differ_in_width_depth_and_positions_and_never_moves(encoder, images, random):
    fixed = build_encoder(WIDER)
    with torch.no_grad():
        fixed.vit.pos_embed.normal_()
    method = PCAE(encoder, PCAEConfig(), SMALL, fixed)
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    result = method(images, random)
    result.loss.backward()
    method.after_step(Progress(8, 0))
    assert method.decoder.head.out_features == 36 and targets_of(method, images, random)[0].features.shape[-1] == 36
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    fixed.vit.blocks[0].mlp.fc1.weight.data.zero_()  # the method's teacher is its own
    assert torch.equal(
        method.teacher.encoder.vit.blocks[0].mlp.fc1.weight, before["encoder.vit.blocks.0.mlp.fc1.weight"]
    )


def test_a_fixed_teacher_of_another_grid_is_refused_with_the_size_that_helps(encoder):
    other = build_encoder(EncoderConfig(image_size=(32, 32), patch_size=8, width=24, depth=2, heads=2))
    with pytest.raises(ValueError, match=r"grid is \(4, 4\), the student's \(4, 6\); load it for images of 32 x 48"):
        PCAE(encoder, PCAEConfig(), SMALL, other)


@pytest.mark.parametrize("patch", [4, 12])
def test_a_fixed_teacher_of_other_patches_sees_the_image_in_its_size(encoder, images, random, patch):
    other = build_encoder(
        EncoderConfig(image_size=(4 * patch, 6 * patch), patch_size=patch, width=24, depth=2, heads=2)
    )
    method = PCAE(encoder, PCAEConfig(stages=0, target_norm="none"), SMALL, other)
    patches = patchify(images, (8, 8))
    _, hidden = split(random.uniform("mask", 24), method.n_visible)
    found = method.targets(patches, hidden, random)
    own = patchify(interpolate(images, (4 * patch, 6 * patch), mode="bicubic", antialias=True), (patch, patch))
    expected = other(gather(own, hidden), hidden, (4, 6), prefix=False).tokens
    torch.testing.assert_close(found.features, expected)
    method(images, random).loss.backward()


def test_a_full_teacher_with_random_targets(encoder, images, random):
    """All hidden tokens go through the teacher; those that are predicted are its own, at uniformly drawn places."""
    method = PCAE(encoder, PCAEConfig(stages=0, random_targets=5, target_norm="none"), SMALL)
    found, hidden = targets_of(method, images, random)
    assert method.counts == [18, 5] and found.ids.shape == (4, 5)
    whole = method.teacher.encoder(gather(patchify(images, (8, 8)), hidden), hidden, (4, 6), prefix=False).tokens
    noise = random.uniform("targets", 24)
    for image in range(4):
        lowest = sorted(sorted(hidden[image].tolist(), key=noise[image].__getitem__)[:5])
        assert found.ids[image].tolist() == lowest
        places = [hidden[image].tolist().index(position) for position in lowest]
        torch.testing.assert_close(found.features[image], whole[image, places])


def test_random_drop_differs_by_step_and_not_by_call(encoder, images, random):
    method = PCAE(encoder, PCAEConfig(criterion="random"), SMALL)
    assert torch.equal(targets_of(method, images, random)[0].ids, targets_of(method, images, random)[0].ids)
    hidden = targets_of(method, images, random)[1]
    later = method.teacher(gather(patchify(images, (8, 8)), hidden), hidden, replace(random, step=random.step + 1))
    assert not torch.equal(targets_of(method, images, random)[0].ids, later.ids)


def test_saliency_runs_the_teacher_with_its_class_token_which_is_no_target(encoder, images, random):
    method = PCAE(encoder, PCAEConfig(criterion="saliency"), SMALL)
    found, _ = targets_of(method, images, random)
    assert found.encoded.prefix.shape[1] == 1 and found.features.shape[1] == 2
    plain = PCAE(encoder, PCAEConfig(), SMALL)
    assert targets_of(plain, images, random)[0].encoded.prefix.shape[1] == 0


def test_saliency_needs_a_class_token():
    config = EncoderConfig(
        model="vit_base_patch16_gap_224", image_size=(32, 48), patch_size=8, width=24, depth=6, heads=2
    )
    with pytest.raises(ValueError, match="saliency needs a teacher with a class token"):
        PCAE(build_encoder(config), PCAEConfig(criterion="saliency"), SMALL)


@pytest.mark.parametrize("discard", ["loss", "decode"])
def test_mae_with_discarded_targets_has_pixel_loss_where_pcaes_teacher_keeps(encoder, images, random, discard):
    """Setting 1: mask tokens at all hidden places, loss at the kept ones. Setting 2: mask tokens there alone."""
    method = DiscardingMAE(encoder, DiscardingMAEConfig(discard=discard, norm_pix_loss=False), SMALL).eval()
    found, hidden = targets_of(method, images, random)
    decoded = []
    method.decoder.register_forward_hook(lambda _, args, out: decoded.append((args[3], out)))
    loss = method(images, random).loss
    ids, predictions = decoded[0]
    assert torch.equal(ids, hidden if discard == "loss" else found.ids)
    patches = patchify(images, (8, 8))
    errors = [
        (predictions[image, ids[image].tolist().index(position)] - patches[image, position]).square().mean()
        for image in range(4)
        for position in found.ids[image].tolist()
    ]
    torch.testing.assert_close(loss, torch.stack(errors).mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_targets": 3}, r"random_targets must lie in \[1, 2\], got 3"),
        ({"random_targets": 0}, "random_targets must lie"),
        ({"placement": 6}, "placement must be one of"),
        ({"stages_after": (0, 2), "stages": 2}, "leave stages and placement out"),
    ],
)
def test_settings_of_a_teacher_that_make_no_sense_are_refused(encoder, options, message):
    with pytest.raises(ValueError, match=message):
        PCAE(encoder, PCAEConfig(**options), SMALL)


def test_a_momentum_for_a_fixed_teacher_is_refused(encoder):
    with pytest.raises(ValueError, match=r"momentum 0.9 is for a teacher that moves"):
        PCAE(encoder, PCAEConfig(momentum=0.9), SMALL, encoder)


def test_mae_discard_has_no_target_norm(encoder):
    with pytest.raises(ValueError, match="mae-discard has pixels"):
        DiscardingMAE(encoder, DiscardingMAEConfig(target_norm="none"), SMALL)
