"""Crops of images in one array, made a batch at a time: the same boxes and nearly the same pixels as one by one."""

import numpy as np
import pytest
import torch
from skimage import data

from pcae.data import arrays
from pcae.data.arrays import Cropper, Uncropped, cropper, together
from pcae.data.augment import crop_batch
from pcae.data.crops import RandomCrops, draw_box
from pcae.data.images import Images, open_images
from pcae.data.policy import AugmentedCrops
from pcae.settings.reading import PolicyConfig
from tests.data.packed.test_packed import PIXELS, pack
from tests.photographs import photographs

CPU, META = torch.device("cpu"), torch.device("meta")
ITEMS = [(position % 4, 100 + position) for position in range(12)]


def photos(stored: int, channels: int, side: int = 96) -> Images:
    """Photographs of 96 x 120 in one array of 0 (no axis), 1, 3 or 5 stored channels."""
    sources = (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    colours = np.stack([pixels[20 : 20 + side, 30 : 30 + side * 5 // 4] for pixels in sources])
    five = np.concatenate([colours, 255 - colours[..., :2]], axis=-1)
    pixels = five[..., 1] if stored == 0 else five[..., :stored]
    return Images(pixels, list("abcd"), None, (), channels)


def made(crops: RandomCrops, held: bool = False):
    finish = cropper(crops, CPU, free=10**9 if held else 0)
    return finish(Uncropped(crops, held).__getitems__(ITEMS))


@pytest.mark.parametrize(("stored", "channels"), [(0, 1), (1, 1), (3, 3), (5, 5), (0, 3), (1, 3)])
@pytest.mark.parametrize(("scale", "size"), [((0.2, 1.0), (32, 24)), ((0.2, 1.0), (112, 112)), ((1.0, 1.0), (32, 31))])
def test_pixels_are_within_two_levels_of_crops_one_by_one(stored, channels, scale, size):
    """Shrunk and enlarged, with boxes between pixels where whole images are taken; Pillow and torch round as we do."""
    crops = RandomCrops(photos(stored, channels), size, scale, seed=3)
    one_by_one = torch.stack([crops[item] for item in ITEMS])
    batch = made(crops)
    apart = (batch.pixels.float() - one_by_one.float()).abs()
    assert batch.pixels.shape == (12, channels, *size) and batch.pixels.dtype == torch.uint8
    assert apart.mean() < 0.1 and apart.max() <= 2
    assert batch.indices == [index for index, _ in ITEMS] and batch.boxes is None


def test_the_sample_in_gray_and_in_colours():
    for channels in (1, 3):
        crops = RandomCrops(open_images("sample", channels=channels), (28, 28), (0.2, 1.0), seed=0)
        apart = (made(crops).pixels.float() - torch.stack([crops[item] for item in ITEMS]).float()).abs()
        assert apart.mean() < 0.1 and apart.max() <= 2


def test_boxes_are_those_of_crops_one_by_one():
    crops = RandomCrops(photos(3, 3), (32, 24), (0.2, 1.0), seed=3)
    boxes = Uncropped(crops).__getitems__(ITEMS).boxes
    assert boxes.tolist() == [list(draw_box((120, 96), (0.2, 1.0), 3, position)) for _, position in ITEMS]
    assert len({tuple(box) for box in boxes.tolist()}) == len(ITEMS)


def test_one_image_at_a_time_gives_what_a_batch_gives():
    """Rounding may not depend on the micro-batch, of which a run has any number."""
    crops = RandomCrops(open_images("sample"), (28, 28), (0.2, 1.0), seed=1)
    finish, read = Cropper(crops), Uncropped(crops)
    alone = torch.cat([finish(read.__getitems__([item])).pixels for item in ITEMS])
    assert torch.equal(alone, made(crops).pixels)


@pytest.mark.parametrize("scale", [(0.2, 1.0), (1.0, 1.0)])
def test_images_held_on_the_device_give_the_same_batches_from_their_rows(scale, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", 3)  # four images are two blocks
    crops = RandomCrops(photos(3, 3, 24), (24, 30), scale, seed=3)
    sent = Uncropped(crops, held=True).__getitems__(ITEMS)
    assert sent.pixels.numel() == 0 and sent.rows.tolist() == [index for index, _ in ITEMS]
    assert torch.equal(made(crops, held=True).pixels, made(crops).pixels)


def test_images_are_held_up_to_a_quarter_of_the_free_memory():
    crops = RandomCrops(photos(3, 3, 24), (24, 30), (0.2, 1.0), seed=3)
    size = crops.images.items.nbytes
    assert cropper(crops, CPU, free=4 * size - 1).held is None
    held = cropper(crops, CPU, free=4 * size).held
    assert np.array_equal(held.permute(0, 2, 3, 1).numpy(), crops.images.items)
    assert cropper(crops, CPU).held is None  # a CPU has them anyway


@pytest.mark.parametrize("stored", [0, 3])
def test_whole_images_in_their_own_size_are_taken_as_they_are(stored):
    crops = RandomCrops(photos(stored, 3), (96, 120), (1.0, 1.0), seed=3)
    assert together(crops, CPU) and Uncropped(crops).__getitems__(ITEMS).boxes is None
    assert torch.equal(made(crops).pixels, torch.stack([crops[item] for item in ITEMS]))


def test_a_packed_folder_is_read_through_its_map(tmp_path):
    (tmp_path / "photos").mkdir()
    for index, photograph in enumerate(photographs()[:4]):
        photograph.save(tmp_path / "photos" / f"{index}.png")
    packed = open_images(pack(tmp_path / "photos", tmp_path / "out", *PIXELS))
    crops = RandomCrops(packed, (24, 24), (0.2, 1.0), seed=3)
    assert together(crops, CPU)
    apart = (made(crops).pixels.float() - torch.stack([crops[item] for item in ITEMS]).float()).abs()
    assert apart.max() <= 2


def test_what_is_made_one_by_one():
    """Files, distorted crops, colours that become gray, and on a CPU what is large."""
    scale = (0.2, 1.0)
    files = Images(["a.png"], ["a.png"], None, (), 3)
    distorted = AugmentedCrops(photos(3, 3), (24, 24), scale, 0, PolicyConfig(), (0.5,) * 3, (0.2,) * 3)
    assert not any(
        together(crops, META)
        for crops in (RandomCrops(files, (24, 24), scale, 0), distorted, RandomCrops(photos(3, 1), (24, 24), scale, 0))
    )
    large = RandomCrops(photos(3, 3), (24, 24), scale, 0)
    assert together(large, META) and not together(large, CPU)
    assert together(RandomCrops(photos(3, 3, 24), (32, 32), scale, 0), CPU)
    assert not together(RandomCrops(photos(3, 3, 24), (32, 33), scale, 0), CPU)


def test_pixels_next_to_a_box_do_not_count():
    pixels = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    pixels[..., 4:] = 255
    box = torch.tensor([[0.0, 0.0, 4.0, 8.0]])
    assert crop_batch(pixels, box, (8, 8)).max() == 0
