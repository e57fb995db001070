"""Fine-tuning with token reduction states the paper's section 3.4 and MAE's recipe."""

import copy
from dataclasses import replace

import pytest
import timm
import torch
from torch.nn import functional as F

from pcae.model.encoder import create_vit
from pcae.model.reduced import ReducedViT, reduce
from pcae.settings.run import OptimizerConfig
from pcae.settings.tasks import ClassificationConfig
from pcae.tasks.classification import (
    Classification,
    MultiLabel,
    check_classification,
    drop_schedule,
    layer_groups,
    mirrored_pairs,
)
from pcae.tasks.drop_path import DropPath, draw_paths
from pcae.training.loop import Progress, loop
from pcae.training.micro_batches import Labelled
from pcae.training.optimizer import build_optimizer, set_learning_rate
from pcae.training.randomness import StepRandom, randomness
from tests.conftest import TINY
from tests.gradients import assert_falls_as_its_gradient_says

pytestmark = pytest.mark.trains

PLAIN = ClassificationConfig(drop_path=0.0, mixup=0.0, cutmix=0.0, label_smoothing=0.0)
CPU = torch.device("cpu")


def make(
    config: ClassificationConfig,
    steps: int = 20,
    task: type[Classification] = Classification,
    class_weights: torch.Tensor | None = None,
) -> Classification:
    torch.manual_seed(0)
    vit = create_vit(TINY, channels=3, num_classes=5, global_pool="avg")
    return task(vit, config, drop_schedule(config, steps, steps / 2), class_weights).double()


@pytest.fixture
def batch() -> Labelled:
    generator = torch.Generator().manual_seed(1)
    return Labelled(torch.randn(8, 3, 32, 48, generator=generator).double(), torch.arange(8) % 5)


def draw_at(step: int) -> StepRandom:
    return randomness(3, step, 8, CPU)


def test_the_loss_is_the_cross_entropy_of_timms_own_logits_while_nothing_is_dropped(batch):
    method = make(replace(PLAIN, drop_ratio=0.4)).train()
    loss = method(batch, draw_at(0)).loss
    torch.testing.assert_close(loss, F.cross_entropy(method.model.vit(batch.images), batch.labels))


def test_after_the_ramp_it_is_that_of_the_reduced_model(batch):
    method = make(replace(PLAIN, drop_ratio=0.4), steps=20).train()
    result = method(batch, draw_at(19))
    expected = F.cross_entropy(reduce(method.model.vit, 0.4, fold="append")(batch.images), batch.labels)
    torch.testing.assert_close(result.loss, expected)
    assert result.signals["drop_ratio"] == 0.4 and not torch.allclose(expected, method(batch, draw_at(0)).loss)


def test_its_loss_falls_as_its_gradient_says(batch):
    """With the tokens of the ramp's end dropped, drop path, mixing and smoothing: the same draw at both ends."""
    method = make(replace(FULL, drop_ratio=0.4), steps=20).train()
    assert_falls_as_its_gradient_says(method, lambda: method(batch, draw_at(19)).loss)


def test_random_tokens_go_anew_in_every_step_and_the_same_in_a_repeated_one(batch):
    """The control of the method: as many tokens, whichever."""
    method = make(replace(PLAIN, drop_ratio=0.4, criterion="random"), steps=20).train()
    losses = []
    for step in (18, 19, 19):
        losses.append(method(batch, draw_at(step)).loss)
        noise = draw_at(step).uniform("drop", 24)
        reduction = replace(method.model.reduction, criterion=lambda seen, noise=noise: noise.gather(1, seen.ids))
        expected = F.cross_entropy(ReducedViT(method.model.vit, reduction)(batch.images), batch.labels)
        torch.testing.assert_close(losses[-1], expected)
    assert losses[0] != losses[1] == losses[2]


def test_label_smoothing_is_its_formula_without_and_with_mixing(batch):
    method = make(replace(PLAIN, label_smoothing=0.1)).train()
    logits = method.model.vit(batch.images)
    targets = F.one_hot(batch.labels, 5).double() * 0.9 + 0.1 / 5
    torch.testing.assert_close(method(batch, draw_at(0)).loss, -(targets * logits.log_softmax(1)).sum(1).mean())


def test_each_image_is_blended_with_its_neighbour_and_the_targets_with_the_same_weight(batch):
    method = make(replace(PLAIN, mixup=0.8))
    images, targets = method.mix(batch, draw_at(4))
    own = batch.images.view(4, 2, -1)
    mixed = images.view(4, 2, -1)
    weight = ((mixed[:, 0] - own[:, 1]) / (own[:, 0] - own[:, 1])).mean()
    torch.testing.assert_close(mixed, weight * own + (1 - weight) * own.flip(1))
    labels = F.one_hot(batch.labels, 5).double().view(4, 2, 5)
    expected = (weight * labels + (1 - weight) * labels.flip(1)).view(8, 5)
    torch.testing.assert_close(targets.double(), expected, atol=1e-6, rtol=0)  # timm's targets are float32


def test_cutmix_takes_a_rectangle_of_the_neighbour(batch):
    method = make(replace(PLAIN, cutmix=1.0))
    images, _ = method.mix(batch, draw_at(2))
    neighbours = batch.images.view(4, 2, 3, 32, 48).flip(1).reshape(8, 3, 32, 48)
    foreign = images == neighbours
    assert torch.equal(torch.where(foreign, neighbours, batch.images), images) and 0 < foreign.double().mean() < 1
    assert (foreign[0] == foreign[7]).all()


def test_pairs_stand_as_far_from_the_start_as_from_the_end():
    order = mirrored_pairs(6)
    assert {frozenset(pair) for pair in zip(order.tolist(), order.flip(0).tolist(), strict=True)} == {
        frozenset({0, 1}), frozenset({2, 3}), frozenset({4, 5}),
    }  # fmt: skip


FULL = ClassificationConfig(drop_ratio="0:0.4", drop_start_epochs=0.0, drop_ramp_epochs=0.0, drop_path=0.5, ema=0.9)


def trained(
    parts: int, batch: Labelled, config: ClassificationConfig = FULL, steps: int = 5, **options
) -> Classification:
    """Steps in which every global batch of 8 comes in `parts` micro-batches."""
    method = make(config, **options)
    optimizer = build_optimizer(method, OptimizerConfig(base_lr=1e-2), layer_groups(method.model.vit, 0.05, 0.65))

    def stream():
        for step in range(steps):
            for part in range(parts):
                rows = slice(part * 8 // parts, (part + 1) * 8 // parts)
                yield Labelled(batch.images[rows], batch.labels[rows]), draw_at(step).part(part, parts)

    loop(method, stream(), optimizer, lambda _: 1e-3, Progress(steps), [], accumulation=parts)
    return method


def test_four_micro_batches_equal_one_batch_with_everything_on(batch):
    """Mixing, drop path, the dial and the average are those of the global batch."""
    whole, cut = trained(1, batch), trained(4, batch)
    for (name, one), other in zip(whole.named_parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8, msg=name)


def test_the_average_is_its_closed_form(batch):
    def snapshots(steps: int) -> torch.Tensor:
        return trained(1, batch, steps=steps).model.vit.blocks[0].mlp.fc1.weight.detach()

    start = make(FULL).model.vit.blocks[0].mlp.fc1.weight.detach()
    after = [snapshots(steps) for steps in (1, 2, 3)]
    method = trained(1, batch, steps=3)
    expected = start
    for step, weight in enumerate(after):
        momentum = min(0.9, (1 + step) / (10 + step))
        expected = momentum * expected + (1 - momentum) * weight
    torch.testing.assert_close(method.serving.blocks[0].mlp.fc1.weight, expected)
    assert method.serving is method.average and not any(p.requires_grad for p in method.average.parameters())


def test_drop_path_leaves_out_what_the_noise_says_and_keeps_the_mean():
    path = DropPath(0.25)
    branch = torch.ones(40_000, 1, 1)
    assert path(branch) is branch
    noise = torch.rand(40_000, 1, generator=torch.Generator().manual_seed(0))
    draw_paths([path], noise)
    dropped = path(branch).flatten()
    assert torch.equal(dropped == 0, noise[:, 0] < 0.25) and dropped.mean() == pytest.approx(1.0, abs=0.02)
    assert path.eval()(branch) is branch


def test_drop_path_climbs_with_the_depth_and_leaves_names_alone():
    method, plain = make(FULL), make(PLAIN)
    assert [path.rate for path in method.paths[::2]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert method.model.vit.state_dict().keys() == plain.model.vit.state_dict().keys()
    method.eval()
    images = torch.randn(2, 3, 32, 48).double()
    torch.testing.assert_close(method.model.vit(images), plain.model.vit(images))


def test_layer_decay_is_maes_formula():
    """lr of block i: base * decay ** (depth - i); embedding and tokens one below block 0; head and its norm 1."""
    vit = timm.create_model("vit_tiny_patch16_224", depth=3, num_classes=4, global_pool="avg", reg_tokens=1)
    groups = layer_groups(vit, 0.05, 0.65)
    names = {id(parameter): name for name, parameter in vit.named_parameters()}
    scale = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    decay = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert scale.keys() == dict(vit.named_parameters()).keys()
    expected = {"head": 1.0, "fc_norm": 1.0, "blocks.2": 0.65, "blocks.1": 0.65**2, "blocks.0": 0.65**3}
    stem = dict.fromkeys(["patch_embed", "cls_token", "pos_embed", "reg_token"], 0.65**4)
    for name, value in scale.items():
        found = next(value for start, value in (expected | stem).items() if name.startswith(start))
        assert value == pytest.approx(found), name
        free = name.endswith("bias") or "norm" in name or name in {"cls_token", "pos_embed", "reg_token"}
        assert decay[name] == (0 if free else 0.05), name
    optimizer = build_optimizer(vit, OptimizerConfig(), groups)
    set_learning_rate(optimizer, 2.0)
    assert {round(group["lr"], 9) for group in optimizer.param_groups} == {round(2 * v, 9) for v in scale.values()}


def test_blocks_of_another_kind_are_refused_where_they_would_ignore_drop_path():
    vit = timm.create_model("vit_small_patch16_18x2_224", depth=2, embed_dim=24, num_heads=2)
    with pytest.raises(ValueError, match="not ParallelThingsBlock; use --drop-path 0"):
        Classification(vit, FULL, drop_schedule(FULL, 10, 5))
    Classification(vit, PLAIN, drop_schedule(PLAIN, 10, 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixup": -1.0}, "mixup must be 0 or more, got -1"),
        ({"drop_path": 1.0}, r"drop_path must lie in \[0, 1\), got 1"),
        ({"ema": 1.5}, r"ema must lie in \[0, 1\), got 1.5"),
        (
            {"pool_dropped": True, "global_pool": "token"},
            r"fold pool \(pool_dropped\) needs --global-pool avg, got 'token'",
        ),
        ({"layer_decay": 0.0}, r"layer_decay must lie in \(0, 1\], got 0"),
        ({"drop_ratio": "0:2"}, "got '0:2'"),
        ({}, "even number of images in a micro-batch, got 7"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        check_classification(replace(ClassificationConfig(), **change), micro_batch=7)


def test_resuming_needs_the_average_and_nothing_else_beside_weights_and_optimizer():
    method = make(FULL)
    other = copy.deepcopy(method)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(method.state_dict())
    assert all(torch.equal(one, two) for one, two in zip(method.parameters(), other.parameters(), strict=True))


WEIGHTS = torch.tensor([2.0, 0.5, 1.0, 3.0, 1.0])


def test_class_weights_are_in_the_loss_with_mixing_and_smoothing(batch):
    for config in (replace(PLAIN, label_smoothing=0.1), replace(PLAIN, mixup=0.8, label_smoothing=0.1)):
        plain, method = make(config).train(), make(config).train()
        method.class_weights = WEIGHTS
        images, targets = plain.mix(batch, draw_at(4))
        if not plain.mixes:
            targets = F.one_hot(targets, 5).double() * 0.9 + 0.1 / 5
        expected = -(WEIGHTS.double() * targets * method.model.vit(images).log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(method(batch, draw_at(4)).loss, expected)


def test_class_weights_stand_in_no_checkpoint():
    assert make(PLAIN).state_dict().keys() == make(PLAIN, class_weights=WEIGHTS).state_dict().keys()


@pytest.fixture
def several(batch) -> Labelled:
    rows = torch.rand(8, 5, generator=torch.Generator().manual_seed(2)) < 0.4
    rows[3] = False  # no class at all
    return Labelled(batch.images, rows.double())


def test_with_several_labels_the_loss_is_the_binary_cross_entropy_of_smoothed_labels(several):
    method = make(replace(PLAIN, label_smoothing=0.1), task=MultiLabel).train()
    chance = 1 / (1 + torch.exp(-method.model.vit(several.images)))
    targets = several.labels * 0.95 + (1 - several.labels) * 0.05
    expected = -(targets * chance.log() + (1 - targets) * (1 - chance).log()).mean()
    torch.testing.assert_close(method(several, draw_at(0)).loss, expected)


@pytest.mark.parametrize("how", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_blended_images_have_the_labels_of_both_by_their_shares(several, how):
    """The images are those that one label an image gives; the share of a blend is read off its pixels."""
    method = make(replace(PLAIN, **how, label_smoothing=0.1), task=MultiLabel)
    for step in range(6):
        images, targets = method.mix(several, draw_at(step))
        one = make(replace(PLAIN, **how)).mix(Labelled(several.images, torch.zeros(8).long()), draw_at(step))
        assert torch.equal(images, one[0])
        own, mixed = several.images.view(4, 2, -1), images.view(4, 2, -1)
        share = ((mixed - own.flip(1)) / (own - own.flip(1))).mean((1, 2))[:, None, None]
        smooth = (several.labels * 0.95 + (1 - several.labels) * 0.05).view(4, 2, 5)
        expected = (share * smooth + (1 - share) * smooth.flip(1)).view(8, 5)
        torch.testing.assert_close(targets, expected, atol=1e-6, rtol=0)


def test_micro_batches_with_several_labels_and_weights_equal_one_batch(several):
    options = {"task": MultiLabel, "class_weights": torch.stack([WEIGHTS, WEIGHTS.flip(0)])}
    whole, cut = (trained(parts, several, **options) for parts in (1, 4))
    for (name, one), other in zip(whole.named_parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8, msg=name)
