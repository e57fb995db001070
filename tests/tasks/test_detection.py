"""Mask R-CNN on an encoder: losses, randomness, predictions in the image's own pixels."""

from dataclasses import replace

import pytest
import timm
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from pcae.model.encoder import build_encoder
from pcae.settings.network import EncoderConfig
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.detection import Annotated, Detection, check_detection, detection_groups
from pcae.tasks.mask_rcnn import INSIDE, Inputs, pooling
from pcae.training.randomness import StepRandom, randomness
from tests.gradients import assert_falls_as_its_gradient_says

pytestmark = pytest.mark.trains

TINY = EncoderConfig(
    model="vit_tiny_patch16_224", image_size=(64, 64), patch_size=8, channels=3, width=32, depth=4, heads=2
)
SMALL = DetectionConfig(
    pyramid_channels=16,
    head_width=32,
    mask_channels=8,
    mask_convs=1,
    anchors=(8, 16, 32, 48, 64),
    sampled_proposals=32,
    drop_path=0.0,
)
LOSSES = {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}


def make(config: DetectionConfig = SMALL, **sizes) -> Detection:
    torch.manual_seed(0)
    sizes = {"min_size": 64, "max_size": 96} | sizes
    return Detection(build_encoder(TINY), config, classes=2, mean=[0.5] * 3, std=[0.25] * 3, **sizes)


def target_of(boxes: list[list[int]], size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Whole rectangles as objects, labels by turns."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.arange(len(boxes)) % 2 + 1,
        "masks": masks,
        "image_id": torch.tensor(7),
    }


def scene(boxes: list[list[int]], size: tuple[int, int] = (64, 80)) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A noisy grey image with a bright and a dark rectangle."""
    image = torch.full((3, *size), 110, dtype=torch.uint8)
    image += torch.randint(0, 30, image.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    for number, (left, top, right, bottom) in enumerate(boxes):
        image[:, top:bottom, left:right] = 10 + 230 * (number % 2)
    return image, target_of(boxes, size)


@pytest.fixture
def batch() -> Annotated:
    """Two images of different sizes, neither a multiple of anything; the second without objects."""
    one, other = scene([[8, 6, 40, 30], [46, 20, 74, 60]]), scene([], (70, 50))
    return Annotated([one[0], other[0]], [one[1], other[1]])


def draw_at(step: int, rows: int = 2) -> StepRandom:
    return randomness(3, step, rows, torch.device("cpu"))


def test_the_loss_is_the_sum_of_mask_r_cnns_five(batch):
    result = make()(batch, draw_at(0))
    assert set(result.signals) == LOSSES and not any(value.requires_grad for value in result.signals.values())
    torch.testing.assert_close(result.loss.detach(), torch.stack(list(result.signals.values())).sum())


@pytest.mark.parametrize("rows", [slice(0, 2), slice(1, 2)])
def test_all_that_is_trained_has_a_gradient_also_without_any_object(batch, rows):
    """Processes that exchange gradients would wait for one that never comes."""
    method = make(replace(SMALL, drop_path=0.1))
    part = Annotated(batch.images[rows], batch.targets[rows])
    method(part, draw_at(0, rows=len(part.images))).loss.backward()
    for name, parameter in method.named_parameters():
        assert not parameter.requires_grad or parameter.grad.isfinite().all(), name
    assert method.encoder.backbone.projection.grad.abs().max() > 0


def test_the_loss_depends_on_seed_step_and_rows_alone_and_the_global_generator_is_left_alone(batch):
    method = make(replace(SMALL, sampled_proposals=8, drop_path=0.5))
    torch.manual_seed(1)
    first = method(batch, draw_at(4)).loss
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = method(batch, draw_at(4)).loss, method(batch, draw_at(5)).loss
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)
    still = make(replace(SMALL, sampled_proposals=8))
    parts = [still(batch, draw_at(4, rows=4).part(part, 2)).loss for part in (0, 1, 0)]
    assert parts[0] == parts[2] != parts[1]


def test_bytes_and_shares_are_the_same_image(batch):
    method = make()
    shares = Annotated([image / 255 for image in batch.images], batch.targets)
    assert method(shares, draw_at(0)).loss == method(batch, draw_at(0)).loss
    assert all(image.dtype == torch.uint8 for image in batch.images)  # it changes nothing of its caller's


def test_images_are_normalised_padded_and_in_training_not_resized(batch):
    inputs = Inputs(50, 60, [0.5, 0.4, 0.3], [0.25] * 3, 32)
    images, targets = inputs(batch.images, batch.targets)
    assert images.tensors.shape == (2, 3, 96, 96) and images.image_sizes == [(64, 80), (70, 50)]
    expected = (batch.images[1] / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.25
    torch.testing.assert_close(images.tensors[1, :, :70, :50], expected)
    assert images.tensors[1, :, 70:].abs().max() == images.tensors[1, :, :, 50:].abs().max() == 0
    torch.testing.assert_close(targets[0]["boxes"], batch.targets[0]["boxes"])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 200), (50, 100)), ((200, 100), (100, 50)), ((100, 400), (30, 120)), ((10, 12), (50, 60))],
)
def test_images_to_be_predicted_get_the_shorter_side_unless_the_longer_grows_too_long(size, expected):
    images, _ = Inputs(50, 120, [0.0] * 3, [1.0] * 3, 32).eval()([torch.rand(3, *size)])
    assert images.image_sizes == [expected]


def test_shrinking_takes_the_mean_of_the_pixels():
    """Fine stripes become grey; looking only at the pixels in the middle of each four would find them white."""
    stripes = torch.isin(torch.arange(96) % 4, torch.tensor([1, 2])).float()
    images, _ = Inputs(24, 24, [0.0] * 3, [1.0] * 3, 32).eval()([stripes.expand(3, 96, 96)])
    torch.testing.assert_close(images.tensors[:, :, :24, 2:22], torch.full((1, 3, 24, 20), 0.5), rtol=0, atol=0.02)


@pytest.mark.parametrize("side", [33, 64, 200])
def test_boxes_are_cut_out_at_the_scale_of_the_padded_image(side):
    """A map that holds its own horizontal position, as torchvision counts it: what is cut out has the box's centre as
    its mean."""
    padded = -(-side // 32) * 32
    maps = {}
    for level, stride in enumerate((4, 8, 16, 32)):
        across = torch.arange(padded // stride) * float(stride)
        maps[str(level)] = across.expand(1, 1, padded // stride, -1).contiguous()
    boxes = torch.tensor([[8.0, 8.0, 24.0, 24.0]])
    cut = pooling(7)(maps, [boxes], [(side, side)])
    assert cut.shape == (1, 1, 7, 7) and cut.mean() == pytest.approx(16, abs=0.1)


def test_its_loss_falls_as_its_gradient_says(batch):
    """In float64, with the same boxes proposed, which no gradient goes through: how an image is learned."""
    method = make().double()
    boxes = torch.tensor([[8.0, 6, 40, 30], [44, 22, 72, 58], [2, 2, 30, 30]]).double()
    method.network.rpn.filter_proposals = lambda *_: ([boxes, boxes], [torch.ones(3), torch.ones(3)])
    shares = Annotated([image.double() / 255 for image in batch.images], batch.targets)
    # torchvision computes some of it in float32, whose rounding the step must be above
    assert_falls_as_its_gradient_says(method, lambda: method(shares, draw_at(0)).loss, length=1e-5)


@pytest.fixture
def planted(monkeypatch) -> tuple[Detection, torch.Tensor, dict[str, torch.Tensor]]:
    """A detector whose heads find two rectangles where they are, the image, and what is on it."""
    method, (image, target) = make().eval(), scene([[8, 6, 40, 30], [46, 20, 74, 60]])

    def heads(features, proposals, sizes, targets=None):
        assert sizes == [(64, 80)]
        inside = torch.cat([torch.full((1, 1, 28, 28), share) for share in (0.9, 0.8)])
        found = {"boxes": target["boxes"], "labels": target["labels"], "scores": torch.tensor([0.9, 0.4])}
        return [found | {"masks": inside}], {}

    monkeypatch.setattr(method.network.roi_heads, "forward", heads)
    return method, image, target


@pytest.mark.parametrize("times", [1, 2, 3])
def test_objects_are_found_in_the_pixels_of_the_image_as_it_was_given(planted, times):
    """However large it is given, the heads see it at 64 x 80."""
    method, image, target = planted
    (found,) = method.predict([image.repeat_interleave(times, 1).repeat_interleave(times, 2)])
    assert found.keys() == {"boxes", "labels", "scores", "masks"}
    assert found["masks"].shape[1:] == (64 * times, 80 * times) and found["masks"].dtype == torch.bool
    assert (found["scores"].diff() <= 0).all() and torch.equal(found["labels"], target["labels"])
    torch.testing.assert_close(found["boxes"], target["boxes"] * times)
    small = found["masks"][:, ::times, ::times]
    overlap = (small & target["masks"].bool()).sum((1, 2)) / (small | target["masks"].bool()).sum((1, 2))
    assert (overlap > 0.9).all()


def test_autocast_changes_little_and_boxes_keep_their_precision(batch):
    """What boxes are made of is float32, and bfloat16's own rounding away from the exact numbers."""
    method, outputs = make().eval(), []
    for head in (method.network.rpn.head, method.network.roi_heads.box_predictor):
        head.register_forward_hook(lambda _, __, out: outputs.append(out))
    method.predict(batch.images[:1])
    # plain attention: torch's fused one raises under ATEN_CPU_CAPABILITY=default where oneDNN finds AVX-512
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        (rough,) = method.predict(batch.images[:1])
    assert all(rough[name].dtype == torch.float32 for name in ("boxes", "scores"))
    (scores, deltas), (_, exact_boxes), (rough_scores, rough_deltas), (rough_classes, rough_boxes) = outputs
    for exact, found in zip([*scores, *deltas], [*rough_scores, *rough_deltas], strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact, rtol=0.1, atol=0.02)
    assert rough_classes.dtype == rough_boxes.dtype == torch.float32 and exact_boxes.shape[1] == rough_boxes.shape[1]


@pytest.mark.parametrize("size", [(9, 70), (97, 33), (8, 8)])
def test_any_size_is_taken(size):
    method = make(min_size=32, max_size=200)
    image = torch.rand(3, *size)
    assert method(Annotated([image], [target_of([[1, 1, 7, 6]], size)]), draw_at(0, rows=1)).loss.isfinite()
    (found,) = method.eval().predict([image])
    assert found["masks"].shape[1:] == size
    assert (found["boxes"] >= 0).all() and (found["boxes"] <= torch.tensor([size[1], size[0]] * 2) + 1e-3).all()


def test_the_threshold_and_the_number_of_detections_bound_what_is_found(batch):
    assert (
        len(make(replace(SMALL, score_threshold=0.0, detections_per_image=3)).eval().predict(batch.images)[0]["boxes"])
        == 3
    )
    assert len(make(replace(SMALL, score_threshold=0.99)).eval().predict(batch.images)[0]["boxes"]) == 0


def test_keep_1_is_the_dense_detector(batch):
    dense, kept = make(), make(replace(SMALL, reduce_after=(1, 2)))
    assert kept(batch, draw_at(0)).loss == dense(batch, draw_at(0)).loss
    for one, other in zip(dense.eval().predict(batch.images), kept.eval().predict(batch.images), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_late_reduction_trains_and_shortens_the_sequence(batch):
    method, lengths = make(replace(SMALL, drop_ratio=0.5, reduce_after=(2,))), []
    for block in method.encoder.vit.blocks:
        block.register_forward_hook(lambda _, __, out: lengths.append(out.shape[1]))
    method(batch, draw_at(0)).loss.backward()
    assert lengths == [144, 144, 144, 73]  # 96 x 96 pixels; the mean of the dropped is appended
    assert all(parameter.grad.abs().max() > 0 for parameter in method.encoder.vit.blocks[3].parameters())


def test_the_encoders_weights_have_timms_names_with_windows_and_drop_path():
    method = make(replace(SMALL, window=3, global_blocks=(3,), drop_path=0.2))
    plain = timm.create_model(TINY.model, img_size=64, patch_size=8, embed_dim=32, depth=4, num_heads=2, num_classes=0)
    plain.load_state_dict(method.encoder.vit.state_dict(), strict=True)


def test_layer_decay_falls_from_the_last_block_and_all_else_learns_at_the_full_rate():
    method = make()
    groups = detection_groups(method, 0.05, 0.7)
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    listed = [names[id(one)] for group in groups for one in group["params"]]
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert len(listed) == len(set(listed)) and set(listed) == trained
    scale = {names[id(one)]: group.get("lr_scale", 1.0) for group in groups for one in group["params"]}
    decay = {names[id(one)]: group["weight_decay"] for group in groups for one in group["params"]}
    vit = "network.backbone.encoder.vit."
    for name, value in scale.items():
        expected = 1.0
        if name.startswith(vit + "blocks"):
            expected = 0.7 ** (4 - int(name.removeprefix(vit + "blocks.")[0]))
        elif name.startswith(vit):
            expected = 0.7**5
        assert value == pytest.approx(expected), name
        assert decay[name] == (0.05 if method.get_parameter(name).ndim > 1 else 0), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, r"window must lie in \[1, 65536\], got 0"),
        ({"pyramid_channels": 0}, r"pyramid_channels must lie in \[1, 65536\], got 0"),
        ({"mask_convs": -1}, r"mask_convs must lie in \[0, 100\], got -1"),
        ({"anchors": (8, 16)}, r"anchors must be 5 sides in pixels, one a level, got \(8, 16\)"),
        ({"drop_path": 1.0}, r"drop_path must lie in \[0, 1\), got 1"),
        ({"score_threshold": -0.1}, r"score_threshold must lie in \[0, 1\), got -0.1"),
        ({"layer_decay": 0.0}, r"layer_decay must lie in \(0, 1\], got 0"),
        ({"drop_ratio": 0.3}, "drop_ratio 0.3 needs blocks after which tokens are dropped: reduce_after"),
        ({"drop_ratio": 0.3, "reduce_after": (12,)}, r"blocks \[12\] are named, but the model has blocks 0 to 11"),
        ({"drop_ratio": 0.3, "reduce_after": (11,)}, r"reduce_after must lie in \[0, 10\], got \(11,\)"),
        ({"global_blocks": (2,)}, r"global_blocks \(2,\) need windows in the other blocks; give window, too"),
        ({"global_blocks": (2, 14), "window": 7}, r"blocks \[14\] are named"),
        (
            {"drop_ratio": 0.3, "reduce_after": (9,), "window": 14},
            r"reduce_after \(9,\) stands before block 10, whose windows need every token; reduce after 10 at the e",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_value_and_the_remedy(change, message):
    with pytest.raises(ValueError, match=message):
        check_detection(replace(DetectionConfig(), **change), depth=12, patch_size=(16, 16))


def test_a_reduction_after_the_last_windows_is_taken():
    config = DetectionConfig(drop_ratio=0.3, reduce_after=(10,), window=14)
    check_detection(config, depth=12, patch_size=(16, 16))
    check_detection(replace(config, global_blocks=(8, 9, 10, 11), reduce_after=(7,)), depth=12, patch_size=(16, 16))


@pytest.mark.parametrize("patch_size", [(14, 14), (16, 8)])
def test_patches_that_no_stride_divides_are_refused(patch_size):
    with pytest.raises(ValueError, match="square patches whose side is a power of two, got"):
        check_detection(DetectionConfig(), depth=12, patch_size=patch_size)


def test_encoders_with_fewer_blocks_than_maps_and_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="at least 4 blocks, got 3"):
        check_detection(DetectionConfig(), depth=3, patch_size=(16, 16))
    with pytest.raises(ValueError, match="at least 1 and at most the longer, got 90, 80"):
        make(min_size=90, max_size=80)


def test_masks_are_those_of_torchvision_made_one_by_one(batch, monkeypatch):
    method = make(replace(SMALL, score_threshold=0.0, detections_per_image=9)).eval()
    (ours,) = method.predict(batch.images[:1])
    monkeypatch.setattr(Inputs, "postprocess", GeneralizedRCNNTransform.postprocess)
    (theirs,) = method.predict(batch.images[:1])
    assert len(ours["masks"]) > 1 and torch.equal(ours["masks"], theirs["masks"][:, 0] > INSIDE)
    assert all(torch.equal(ours[name], theirs[name]) for name in ("boxes", "labels", "scores"))
