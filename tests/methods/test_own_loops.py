"""Methods in a loop of one's own: images alone, whose random numbers come from torch, a generator or (seed, step)."""

import copy

import pytest
import timm
import torch

import pcae
from pcae.methods.discarding import DiscardingMAE
from pcae.methods.simmim import PCAESimMIM
from pcae.model.encoder import build_encoder
from pcae.settings.methods import DiscardingMAEConfig, PCAESimMIMConfig
from pcae.settings.network import DecoderConfig
from pcae.training.loop import Progress
from pcae.training.randomness import random_for, randomness
from tests.conftest import TINY

SMALL = DecoderConfig(decoder_width=16, decoder_depth=1, decoder_heads=2)
CPU = torch.device("cpu")
METHODS = {
    "pcae": lambda model, **options: pcae.PCAE(model, pcae.PCAEConfig(**options), SMALL),
    "mae-discard": lambda model, **options: DiscardingMAE(model, DiscardingMAEConfig(**options), SMALL),
    "pcae-simmim": lambda model, **options: PCAESimMIM(model, PCAESimMIMConfig(**options)),
    "mae": lambda model: pcae.MAE(model, None, SMALL),
    "simmim": lambda model: pcae.SimMIM(model),
}
WITH_TEACHER = ["pcae", "mae-discard", "pcae-simmim"]


def loss_of(method, images, *random) -> float:
    return method(images, *random).loss.item()


@pytest.mark.parametrize("name", METHODS)
def test_random_numbers_come_from_torch_a_generator_or_seed_and_step(name, encoder, images):
    method = METHODS[name](encoder).eval()
    torch.manual_seed(1)
    losses = [loss_of(method, images) for _ in range(2)]
    torch.manual_seed(1)
    assert [loss_of(method, images) for _ in range(2)] == losses and losses[0] != losses[1]

    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    first, again = ([loss_of(method, images, generator) for _ in range(2)] for generator in generators)
    assert first == again and first[0] != first[1]

    of_the_loop = loss_of(method, images, randomness(3, 5, 4, CPU))
    assert loss_of(method, images, pcae.StepRandom(3, 5)) == of_the_loop
    assert loss_of(method, images, pcae.StepRandom(3, 6)) != of_the_loop


def test_a_process_takes_its_rows_of_all_images():
    whole = pcae.StepRandom(3, 5).for_batch(8, CPU).uniform("mask", 6)
    part = random_for(pcae.StepRandom(3, 5, batch_size=8).part(1, 2), 4, CPU)
    assert torch.equal(part.uniform("mask", 6), whole[4:])


def test_random_numbers_of_other_rows_are_refused(encoder, images, random):
    with pytest.raises(ValueError, match="of 4 images, the batch has 3"):
        METHODS["mae"](encoder)(images[:3], random)
    with pytest.raises(ValueError, match=r"use StepRandom\(seed, step, batch_size=ALL_IMAGES\)"):
        pcae.StepRandom(0, 0).part(0, 2)


@pytest.mark.parametrize("name", METHODS)
def test_timms_own_model_is_trained_in_place(name, images):
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=(32, 48), patch_size=8, embed_dim=24, depth=6, num_heads=2, num_classes=0
    )
    method = METHODS[name](vit)
    method(images).loss.backward()
    assert method.student.vit is vit and vit.pos_embed.requires_grad
    assert all(parameter.grad is not None for parameter in vit.blocks.parameters())


def test_a_loaded_model_is_trained_by_its_encoder(encoder):
    facts = pcae.load(encoder).facts
    loaded = pcae.Pretrained(encoder, facts)
    assert pcae.MAE(loaded, None, SMALL).student is encoder


def moved(method, momentum: float) -> dict[str, torch.Tensor]:
    """The teacher's parameters after one step, by the formula."""
    pairs = zip(method.teacher.encoder.named_parameters(), method.student.parameters(), strict=True)
    return {name: momentum * mine.detach() + (1 - momentum) * its.detach() for (name, mine), its in pairs}


def shake(method) -> None:
    torch.manual_seed(2)
    for parameter in method.student.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)


def assert_teacher(method, expected: dict[str, torch.Tensor]) -> None:
    for name, parameter in method.teacher.encoder.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name])


@pytest.mark.parametrize("name", WITH_TEACHER)
@pytest.mark.parametrize(
    ("config", "told", "momentum"),
    [
        ({"momentum": 0.9}, {}, 0.9),
        ({"momentum": 0.9, "momentum_end": 0.9}, {}, 0.9),
        ({"momentum": 0.9}, {"step": 3, "steps": 8}, 0.9),
        ({}, {"step": 3, "steps": 8}, 0.5),
        ({"momentum": 0.6, "momentum_end": 1.0}, {"step": 4, "steps": 8}, 0.8),
        ({}, {"momentum": 0.75}, 0.75),
        ({"momentum": 0.9}, {"momentum": 0.0}, 0.0),
    ],
)
def test_the_teacher_moves_once_by_the_momentum_that_is_configured_or_told(name, config, told, momentum, encoder):
    method = METHODS[name](encoder, **config)
    shake(method)
    expected = moved(method, momentum)
    method.update_teacher(**told)
    assert_teacher(method, expected)


@pytest.mark.parametrize("config", [{}, {"momentum": 0.6, "momentum_end": 1.0}])
def test_the_teacher_moves_as_in_the_loop(config, encoder):
    ours = METHODS["pcae"](encoder, **config)
    shake(ours)
    theirs = copy.deepcopy(ours)
    for step in range(3):
        ours.update_teacher(step, 6)
        theirs.after_step(Progress(steps=6, step=step))
    for mine, its in zip(ours.teacher.parameters(), theirs.teacher.parameters(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize(
    ("config", "told", "message"),
    [
        ({}, {}, r"use update_teacher\(step, steps\)"),
        ({"momentum": 0.5, "momentum_end": 1.0}, {}, "depends on the length of the run"),
        ({}, {"step": 3}, "depends on the length of the run"),
        ({}, {"step": 8, "steps": 8}, "step 8 is none of 8 steps"),
        ({}, {"momentum": 1.5}, r"momentum must lie in \[0, 1\], got 1.5"),
    ],
)
def test_a_momentum_that_is_not_known_is_refused(config, told, message, encoder):
    with pytest.raises(ValueError, match=message):
        METHODS["pcae"](encoder, **config).update_teacher(**told)


def test_what_has_no_teacher_or_a_fixed_one_stays(encoder, images):
    METHODS["mae"](encoder).update_teacher()
    fixed = build_encoder(TINY)
    method = pcae.PCAE(encoder, None, SMALL, teacher=fixed.vit)
    method.update_teacher()
    for mine, its in zip(method.teacher.encoder.parameters(), fixed.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_pixels_that_were_not_normalised_are_refused(encoder, images):
    method = METHODS["pcae"](encoder)
    with pytest.raises(ValueError, match="got values from 0 to 255: divide by 255"):
        method(((images - images.min()) / (images.max() - images.min()) * 255).round())
    method(images)


def test_whole_images_need_neither_ids_nor_grid(encoder, images):
    ids = torch.arange(24).expand(4, -1)
    patches = encoder.patches_of(images)
    found, expected = encoder.eval()(images), encoder(patches, ids, (4, 6))
    assert torch.equal(found.tokens, expected.tokens) and torch.equal(found.prefix, expected.prefix)
    assert torch.equal(found.ids, ids)
    wider = encoder(torch.randn(1, 3, 32, 64), grid=(4, 8))
    assert wider.tokens.shape == (1, 32, 24)


def test_encoders_are_built_by_name_for_any_size():
    with torch.device("meta"):
        assert pcae.build_encoder("vit_tiny_patch16_224").image_size == (224, 224)
        assert pcae.build_encoder("vit_tiny_patch16_384").image_size == (384, 384)
        assert pcae.build_encoder("vit_tiny_patch16_224", image_size=64).grid == (4, 4)
        assert pcae.build_encoder("vit_tiny_patch16_224", image_size=(32, 64)).grid == (2, 4)
        assert pcae.build_encoder(pcae.EncoderConfig(image_size=64)).image_size == (64, 64)
        assert pcae.build_encoder(TINY, image_size=64).grid == (8, 8)
