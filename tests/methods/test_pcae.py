import numpy as np
import pytest
import torch

from pcae.methods.pcae import PCAE
from pcae.model.encoder import build_encoder
from pcae.model.tokens import gather, patchify
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.loop import Progress
from pcae.training.optimizer import build_optimizer, take_step
from pcae.training.randomness import randomness

pytestmark = pytest.mark.trains

SMALL = DecoderConfig(decoder_width=16, decoder_depth=1, decoder_heads=2)


def make(encoder, **options) -> PCAE:
    return PCAE(encoder, PCAEConfig(**options), SMALL).eval()


def visible_and_hidden(noise: torch.Tensor, n_visible: int) -> tuple[list[list[int]], list[list[int]]]:
    orders = [sorted(range(len(row)), key=row.__getitem__) for row in noise.tolist()]
    return [sorted(o[:n_visible]) for o in orders], [sorted(o[n_visible:]) for o in orders]


@pytest.mark.parametrize("norm", ["none", "token"])
def test_the_loss_is_equation_1_written_out(encoder, images, random, norm):
    """1 - cosine between the decoder's predictions and the teacher's kept tokens, in float64, token by token."""
    method = make(encoder, target_norm=norm).double()
    images = images.double()
    visible, hidden = visible_and_hidden(random.uniform("mask", 24), 6)
    patches = patchify(images, (8, 8))
    grid = (4, 6)
    kept = method.teacher.encoder(
        gather(patches, torch.tensor(hidden)),
        torch.tensor(hidden),
        grid,
        prefix=False,
        reduction=method.teacher.reduction,
    )
    assert kept.ids.shape[1] == 2  # 18 -> 9 -> 4 -> 2
    seen = method.student(gather(patches, torch.tensor(visible)), torch.tensor(visible), grid)
    predictions = method.decoder(seen.prefix, seen.tokens, torch.tensor(visible), kept.ids, grid)
    distances = []
    for image in range(4):
        for target, prediction in zip(kept.tokens[image].numpy(), predictions[image].detach().numpy(), strict=True):
            if norm == "token":
                target = (target - target.mean()) / np.sqrt(target.var() + 1e-5)
            cosine = target @ prediction / np.sqrt((target @ target) * (prediction @ prediction))
            distances.append(1 - cosine)
    assert abs(method(images, random).loss.item() - np.mean(distances)) < 1e-6


def test_the_student_sees_visible_patches_only_and_the_teacher_hidden_ones_only(encoder, images, random):
    method = make(encoder)
    seen = {}
    method.student.register_forward_pre_hook(lambda _, args: seen.update(student=args[1]))
    method.teacher.register_forward_pre_hook(lambda _, args: seen.update(teacher=args[1]))
    loss = method(images, random).loss
    visible, hidden = visible_and_hidden(random.uniform("mask", 24), 6)
    assert seen["student"].tolist() == visible and seen["teacher"].tolist() == hidden
    patches = patchify(images, (8, 8)).clone()
    final = method.teacher(gather(patches, torch.tensor(hidden)), torch.tensor(hidden), random).ids
    assert all(set(kept) <= set(row) for kept, row in zip(final.tolist(), hidden, strict=True))
    assert loss.requires_grad


@pytest.mark.parametrize(("ratio", "visible", "kept"), [(0.75, 49, 18), (0.85, 29, 20), (0.9, 19, 22)])
def test_counts_of_vit_b(ratio, visible, kept, random):
    with torch.device("meta"):
        method = PCAE(build_encoder(EncoderConfig()), PCAEConfig(mask_ratio=ratio))
        assert method.n_visible == visible
        hidden = torch.zeros(1, 196 - visible, dtype=torch.int64)
        targets = method.teacher(torch.empty(1, 196 - visible, 768), hidden, random)
    assert targets.features.shape == (1, kept, 768)


def test_averaged_target_layers_are_the_mean_of_standardised_block_outputs(encoder, images, random):
    method = make(encoder, target_layers=4, target_norm="none")
    patches, hidden = patchify(images, (8, 8)), torch.arange(6, 24).expand(4, -1)
    outputs = {}
    for index, block in enumerate(method.teacher.encoder.vit.blocks):
        block.register_forward_hook(lambda _, __, out, index=index: outputs.__setitem__(index, out))
    targets, _, encoded, _ = method.teacher(gather(patches, hidden), hidden, random)
    stand_at = {2: encoded.stages[0].kept_ids, 3: encoded.stages[1].kept_ids, 4: encoded.stages[1].kept_ids}
    stand_at[5] = encoded.ids
    for image in range(4):
        for place, position in enumerate(encoded.ids[image].tolist()):
            layers = []
            for block in (2, 3, 4, 5):
                row = stand_at[block][image].tolist().index(position)
                token = outputs[block][image, row].double().numpy()
                layers.append((token - token.mean()) / np.sqrt(token.var() + 1e-5))
            np.testing.assert_allclose(targets[image, place], np.mean(layers, axis=0), atol=1e-4)


def test_the_teacher_starts_equal_gets_no_gradient_and_stays_in_evaluation(encoder, images, random):
    method = make(encoder).train()
    for mine, its in zip(method.teacher.encoder.parameters(), method.student.parameters(), strict=True):
        assert torch.equal(mine, its) and mine is not its
    method(images, random).loss.backward()
    assert not any(module.training for module in method.teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    assert all(p.grad is not None for p in method.student.parameters() if p.requires_grad)
    assert all(p.grad is not None for p in method.decoder.parameters())


@pytest.mark.parametrize("momenta", [{"momentum": 0.9}, {"momentum": 0.8, "momentum_end": 1.0}, {}])
def test_the_teacher_is_the_closed_form_of_the_moving_average(encoder, images, momenta):
    """theta_t = product of momenta x theta_0 + sum of (1 - m_i) x later momenta x student_i, skipped steps left out."""
    method = make(encoder, **momenta)
    optimizer = build_optimizer(method, OptimizerConfig(base_lr=1e-2))
    start, students, steps = encoder.vit.blocks[0].mlp.fc1.weight.detach().double().clone(), [], 6
    for step in range(steps):
        random = randomness(0, step, 4, images.device)
        loss = method(images, random).loss
        (loss * (torch.nan if step == 2 else 1.0)).backward()
        _, taken = take_step(optimizer)
        assert bool(taken) is (step != 2)
        method.after_step(Progress(steps, step, taken=taken))
        students.append(encoder.vit.blocks[0].mlp.fc1.weight.detach().double().clone())
    first = momenta.get("momentum", 1 - 4 / steps)
    last = momenta.get("momentum_end", first)
    factors = [last - (last - first) * (1 + np.cos(np.pi * step / steps)) / 2 for step in range(steps)]
    factors[2] = 1.0
    expected = np.prod(factors) * start
    for step, student in enumerate(students):
        expected = expected + (1 - factors[step]) * np.prod(factors[step + 1 :]) * student
    mine = method.teacher.encoder.vit.blocks[0].mlp.fc1.weight.detach().double()
    torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(students[1], start) and torch.equal(students[2], students[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"stages": 7}, r"stages must lie in \[0, 6\]"),
        ({"keep_ratio": 0.1}, "leaves none"),
        ({"target_layers": 7}, r"target_layers must lie in \[1, 6\]"),
        ({"momentum": 1.5}, "momentum must lie"),
        ({"stages_after": (0, 6)}, r"blocks \[6\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_the_start(encoder, options, message):
    with pytest.raises(ValueError, match=message):
        make(encoder, **options)


@pytest.mark.parametrize("channels", [1, 5])
def test_two_steps_of_64_by_96_images_of_any_channels(channels):
    config = EncoderConfig(
        model="vit_tiny_patch16_224", image_size=(64, 96), patch_size=8, channels=channels, depth=3, width=48, heads=3
    )
    take_two_steps(config, channels, (64, 96))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "large"])
def test_two_steps_of_the_smallest_and_of_the_largest_vit_at_224(size):
    take_two_steps(EncoderConfig(model=f"vit_{size}_patch16_224"), 3, (224, 224))


def take_two_steps(config: EncoderConfig, channels: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    method = PCAE(build_encoder(config), PCAEConfig())
    optimizer = build_optimizer(method, OptimizerConfig(base_lr=1e-3))
    before = method.student.vit.blocks[-1].mlp.fc2.weight.detach().clone()
    for step in range(2):
        images = torch.randn(2, channels, *size)
        result = method(images, randomness(0, step, 2, images.device))
        result.loss.backward()
        _, taken = take_step(optimizer)
        method.after_step(Progress(2, step, taken=taken))
        assert bool(taken) and 0 < result.loss < 2
    assert not torch.equal(before, method.student.vit.blocks[-1].mlp.fc2.weight)


def test_one_view_of_the_whole_pool_is_the_paper(encoder, images, random):
    plain = make(encoder)
    same = PCAE(encoder, PCAEConfig(views=1, pool_ratio=0.25), SMALL)
    same.load_state_dict(plain.state_dict())
    assert torch.equal(same.eval()(images, random).loss, plain(images, random).loss)


def test_views_share_the_teachers_targets_and_see_their_own_parts_of_the_pool(encoder, images, random):
    """The loss of three views is the mean of the losses of three students that see those patches; written out."""
    method = PCAE(encoder, PCAEConfig(mask_ratio=0.85, views=3, pool_ratio=0.25), SMALL).double().eval()
    images = images.double()
    calls, seen = [], []
    method.teacher.register_forward_pre_hook(lambda _, args: calls.append(args[1]))
    method.student.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    loss = method(images, random).loss
    assert len(calls) == 1 and calls[0].shape == (4, 18)  # the teacher sees all but the pool, once
    pixels, ids = seen[0]
    assert ids.shape == (12, 3)  # int(24 * 0.15) of the 6 in the pool, three views of four images
    patches, targets = (
        patchify(images, (8, 8)),
        method.teacher(gather(patchify(images, (8, 8)), calls[0]), calls[0], random),
    )
    losses = []
    for view in range(3):
        mine = ids[view * 4 : view * 4 + 4]
        for image in range(4):
            assert set(mine[image].tolist()) <= set(range(24)) - set(calls[0][image].tolist())
            assert mine[image].tolist() == sorted(set(mine[image].tolist()))
        assert torch.equal(pixels[view * 4 : view * 4 + 4], gather(patches, mine))
        encoded = method.student(gather(patches, mine), mine, (4, 6))
        predictions = method.decoder(encoded.prefix, encoded.tokens, mine, targets.ids, (4, 6))
        losses.append(1 - torch.cosine_similarity(predictions, targets.features, dim=-1).mean())
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    views = {tuple(ids[view * 4].tolist()) for view in range(3)}
    assert len(views) > 1


def test_views_of_an_image_do_not_depend_on_the_batch_that_it_is_in(encoder, images, random):
    """Two half batches have the mean loss of the whole one."""
    method = PCAE(encoder, PCAEConfig(mask_ratio=0.85, views=2, pool_ratio=0.25), SMALL).double().eval()
    halves = [method(images.double()[part * 2 : part * 2 + 2], random.part(part, 2)).loss for part in range(2)]
    torch.testing.assert_close(method(images.double(), random).loss, torch.stack(halves).mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "views must be at least 1"),
        ({"views": 2}, "need a larger pool than 6 of 24 patches; raise --pool-ratio"),
        ({"views": 2, "pool_ratio": 0.25}, "need a larger pool"),
        ({"pool_ratio": 0.1}, "need a larger pool"),
        ({"pool_ratio": 1.0, "mask_ratio": 0.85}, r"pool_ratio must lie in \(0, 1\), got 1"),
    ],
)
def test_views_that_do_not_go_together_are_refused(encoder, options, message):
    with pytest.raises(ValueError, match=message):
        make(encoder, **options)


@pytest.mark.parametrize("views", [{}, {"views": 2, "mask_ratio": 0.85, "pool_ratio": 0.25}])
def test_pixels_at_the_targets_add_their_weight_times_maes_loss(encoder, images, random, views):
    """Both losses from one decoder's predictions, written out; the pixels as MAE normalises them."""
    method = make(encoder, pixel_weight=0.3, **views).double()
    images, taken = images.double(), {}
    method.decoder.register_forward_hook(lambda _, args, out: taken.update(ids=args[3], out=out))
    result = method(images, random)
    patches = patchify(images, (8, 8)).repeat(len(taken["ids"]) // 4, 1, 1)
    wanted = gather(patches, taken["ids"])
    pixels = (wanted - wanted.mean(-1, keepdim=True)) / (wanted.var(-1, keepdim=True) + 1e-6).sqrt()
    expected = (taken["out"][..., encoder.width :] - pixels).square().mean()
    assert taken["out"].shape[-1] == encoder.width + 8 * 8 * 3
    torch.testing.assert_close(result.signals["pixel_loss"], expected.detach())
    torch.testing.assert_close(result.loss, result.signals["feature_loss"] + 0.3 * expected)


def test_without_their_weight_no_pixels_are_predicted(encoder, images, random):
    method = make(encoder)
    assert method.decoder.head.out_features == encoder.width and "pixel_loss" not in method(images, random).signals


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_a_pixel_weight_that_cannot_be_is_refused(encoder, weight):
    with pytest.raises(ValueError, match=f"pixel_weight must be 0 or more, got {weight:g}"):
        make(encoder, pixel_weight=weight)
