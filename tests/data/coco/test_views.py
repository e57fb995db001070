"""Whatever a view does to an image, boxes and masks go with it: object k fills colour channel k, so pixels tell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import max_pool2d

from pcae.data.batches import MicroBatches
from pcae.data.coco.annotations import open_coco
from pcae.data.coco.segmentations import boxes_of
from pcae.data.coco.views import CocoViews, check_view_config, view_loader
from pcae.data.unreadable import BadFiles
from pcae.settings.reading import ViewConfig
from tests.shapes import HEIGHT, WIDTH, annotation, content, make, shapes

MULTI_SCALE = ViewConfig(shortest_sides=(60, 75, 118), longest_side=170, mirror=False)
JITTER = ViewConfig(views="jitter", jitter_size=(80, 110), jitter_scale=(0.3, 2.0), padding=0, mirror=False)
KINDS = {
    "multi-scale": MULTI_SCALE,
    "multi-scale, mirrored": replace(MULTI_SCALE, mirror=True),
    "jitter": JITTER,
    "jitter, mirrored": replace(JITTER, mirror=True),
    "jitter, upright": replace(JITTER, jitter_size=(130, 60)),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_coco(str(make(tmp_path_factory.mktemp("shapes"), content())))


def grown(mask: torch.Tensor, by: int) -> torch.Tensor:
    return max_pool2d(mask[None].float(), 2 * by + 1, 1, by)[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_masks_move_with_the_pixels(data, kind):
    views, seen, lost = CocoViews(data, KINDS[kind], seed=3), set(), 0
    for position in range(60):
        pixels, target = views[position % 3, position]
        seen.add(tuple(pixels.shape[1:]))
        lost += 3 - len(target["labels"])
        assert pixels.dtype == torch.uint8 and target["boxes"].dtype == torch.float32
        for label, box, mask in zip(target["labels"], target["boxes"], target["masks"], strict=True):
            shown = pixels[label - 1] > 127
            assert mask.shape == shown.shape and mask.any()
            assert (grown(shown[None], 2)[0] | ~mask.bool()).all()  # where the mask is, the object is,
            assert (grown(mask[None], 2)[0] | ~shown).all()  # and the other way round, but for two pixels at edges
            assert (box - boxes_of(mask[None])[0]).abs().max() <= 1.5
            assert box.min() >= 0 and box[2] <= pixels.shape[2] and box[3] <= pixels.shape[1]
        for label in {1, 2, 3} - set(target["labels"].tolist()):
            assert (pixels[label - 1] > 127).sum() <= 4  # what is left out is not seen
    assert seen == {KINDS[kind].jitter_size} if "jitter" in kind else len(seen) == 3
    assert lost > 0 if "jitter" in kind else lost == 0


def test_multi_scale_takes_the_sides_given(data):
    views = CocoViews(data, MULTI_SCALE, seed=0)
    sizes = {tuple(views[0, position][0].shape[1:]) for position in range(30)}
    assert sizes == {(60, 93), (75, 116), (109, 170)}  # the last one's longer side is at its most
    assert CocoViews(data, replace(MULTI_SCALE, shortest_sides=(HEIGHT,)), seed=0)[0, 0][0].shape == (3, HEIGHT, WIDTH)


def test_half_of_the_views_are_mirrored_exactly(data):
    as_it_is = ViewConfig(shortest_sides=(HEIGHT,), longest_side=WIDTH)
    views, mirrored = CocoViews(data, as_it_is, seed=1), 0
    masks, boxes = torch.from_numpy(shapes()), data.corners(0)
    for position in range(100):
        pixels, target = views[0, position]
        if torch.equal(pixels, masks * 255):
            assert torch.equal(target["masks"], masks) and torch.equal(target["boxes"], boxes)
            continue
        mirrored += 1
        assert torch.equal(pixels, masks.flip(2) * 255) and torch.equal(target["masks"], masks.flip(2))
        assert torch.equal(target["boxes"][:, [2, 0]], WIDTH - boxes[:, [0, 2]])
        assert torch.equal(target["boxes"][:, [1, 3]], boxes[:, [1, 3]])
    assert 30 < mirrored < 70


def test_jitter_fits_the_scale_into_views_that_are_not_square(data):
    for size in ((80, 110), (130, 60), (90, 140)):
        fit = min(size[0] / HEIGHT, size[1] / WIDTH)
        for scale in (0.5, 1.0):
            config = replace(JITTER, jitter_size=size, jitter_scale=(scale, scale))
            pixels, target = CocoViews(data, config, seed=0)[0, 5]
            assert pixels.shape[1:] == size and len(target["labels"]) == 3
            share = target["masks"].sum() / shapes().sum()
            assert share == pytest.approx((fit * scale) ** 2, rel=0.12)


def test_the_box_of_an_object_that_was_cut_is_that_of_what_is_left(data):
    """The foot of the L reaches far to the right: where a crop has its upright part alone, the box must not."""
    views = CocoViews(data, replace(JITTER, jitter_scale=(2.0, 2.0)), seed=0)
    boxes_only = replace(views, data=replace(data, segmentations=None))
    tighter = 0
    for position in range(40):
        target, clipped = views[0, position][1], boxes_only[0, position][1]
        cut = dict(zip(clipped["labels"].tolist(), clipped["boxes"], strict=True))
        for label, box, mask in zip(target["labels"].tolist(), target["boxes"], target["masks"], strict=True):
            if (box[:2] == 0).any() or box[2] == 110 or box[3] == 80:
                assert torch.equal(box, boxes_of(mask[None])[0].float())
            tighter += int((box - cut[label]).abs().max() > 5)
    assert tighter > 0


def test_a_view_depends_on_seed_and_position_alone(data):
    views = CocoViews(data, KINDS["jitter, mirrored"], seed=4)
    first = views[1, 9]
    torch.rand(17)
    state = torch.get_rng_state()
    again = views[1, 9]
    assert torch.equal(state, torch.get_rng_state())  # nobody else's draws change
    assert torch.equal(first[0], again[0]) and all(torch.equal(first[1][key], again[1][key]) for key in first[1])
    assert not torch.equal(first[0], views[1, 10][0])
    assert not torch.equal(first[0], replace(views, seed=5)[1, 9][0])


def test_crowds_are_not_learned_and_are_kept_for_evaluation(tmp_path):
    made = content(2)
    made["annotations"][1]["iscrowd"] = 1
    data = open_coco(str(make(tmp_path, made)))
    _, target = CocoViews(data, MULTI_SCALE, seed=0)[0, 0]
    assert target["labels"].tolist() == [1, 3] and len(target["masks"]) == 2
    rows = data.rows(0)
    assert data.labels[rows].tolist() == [1, 2, 3] and data.crowds[rows].tolist() == [False, True, False]


def test_images_without_objects_have_empty_targets(tmp_path):
    made = content(2)
    del made["annotations"][3:]
    data = open_coco(str(make(tmp_path, made)))
    for config in KINDS.values():
        pixels, target = CocoViews(data, config, seed=0)[1, 0]
        assert target["boxes"].shape == (0, 4) and target["labels"].shape == (0,)
        assert target["masks"].shape == (0, *pixels.shape[1:])


def test_a_strip_keeps_a_pixel(tmp_path):
    made = content(1)
    made["images"][0] |= {"height": 2, "width": 300}
    made["annotations"] = [annotation(1, 10, 7, np.ones((2, 300), np.uint8))]
    data = open_coco(str(make(tmp_path, made)))
    assert CocoViews(data, replace(JITTER, jitter_scale=(0.1, 0.1)), seed=0)[0, 0][0].shape == (3, 80, 110)


def order(images: int, rank: int = 0, processes: int = 1, start: int = 0) -> MicroBatches:
    return MicroBatches(images, 3, batch_size=4, start=start, steps=3, rank=rank, processes=processes, accumulation=1)


def test_a_run_is_the_same_by_any_number_of_processes_and_from_any_step(data):
    views, cpu = CocoViews(data, KINDS["jitter, mirrored"], seed=3), torch.device("cpu")
    whole = [batch.images for batch in view_loader(views, order(3), 0, cpu)]
    halves = [list(view_loader(views, order(3, rank, 2), workers, cpu)) for rank, workers in ((0, 0), (1, 1))]
    for step, images in enumerate(whole):
        assert len(images) == 4
        shared = halves[0][step].images + halves[1][step].images
        assert all(torch.equal(a, b) for a, b in zip(images, shared, strict=True))
    resumed = [batch.images for batch in view_loader(views, order(3, start=2), 0, cpu)]
    assert len(resumed) == 1 and all(torch.equal(a, b) for a, b in zip(whole[2], resumed[0], strict=True))


def test_unreadable_images_are_replaced_and_counted(tmp_path):
    data = open_coco(str(make(tmp_path, content(4))))
    Image.new("RGB", (HEIGHT, WIDTH)).save(data.images.names[1])  # of another size than its annotations
    (tmp_path / "images" / "2.png").write_bytes(b"torn")
    batches = list(view_loader(CocoViews(data, MULTI_SCALE, seed=3), order(4), 0, torch.device("cpu")))
    assert all(len(batch.images) == len(batch.targets) == 4 for batch in batches)
    assert {index for batch in batches for index in batch.indices} == {0, 3}
    bad_files = BadFiles(data.images, 0.4)
    for batch in batches:
        bad_files.add(batch.failed)
    with pytest.raises(
        ValueError, match=r"2 of 4 images cannot be read: .*1.png' \(upright it has 90 x 140 pixels.*2.png'"
    ):
        bad_files.check()


def test_other_channels_than_three(tmp_path):
    data = open_coco(str(make(tmp_path, content(1))), channels=1)
    for config in KINDS.values():
        assert len(CocoViews(data, config, seed=0)[0, 0][0]) == 1


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"shortest_sides": ()}, "shortest_sides must be pixels"),
        ({"shortest_sides": (480, 1400)}, "at most longest_side, got 480, 1400 and 1333"),
        ({"jitter_scale": (2.0, 0.1)}, "jitter_scale must be two positive numbers, ascending, .* got \\(2.0, 0.1\\)"),
    ],
)
def test_views_that_cannot_be_are_refused(knobs, message):
    check_view_config(ViewConfig())
    with pytest.raises(ValueError, match=message):
        check_view_config(ViewConfig(**knobs))
