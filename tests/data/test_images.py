import math
import shutil
from itertools import product

import numpy as np
import pytest
import simplejpeg
import tifffile
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import pad, resized_crop

from pcae.data import sample
from pcae.data.crops import RandomCrops, WholeImages, draw_box, fit, to_tensor
from pcae.data.files.decode import Part, decode, decode_part
from pcae.data.images import open_images
from tests.photographs import photographs


@pytest.fixture
def tree(tmp_path):
    """train and val folders of two classes, photographs of different sizes and formats."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    for split, count in (("train", 4), ("val", 2)):
        for label, pixels in zip(("china", "flower"), photographs, strict=True):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                crop = Image.fromarray(pixels[index * 9 : 200 + index * 7, : 300 - index * 11])
                crop.save(folder / f"{index}{('.jpg', '.png', '.webp', '.bmp')[index % 4]}")
    (tmp_path / "train" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_a_folder_with_splits_and_classes(tree):
    train, test = open_images(str(tree), "train"), open_images(str(tree), "test")
    assert (len(train), len(test)) == (8, 4) and train.classes == test.classes == ["china", "flower"]
    assert list(train.labels) == [0] * 4 + [1] * 4 and train.channels == 3
    assert train.names[0].endswith("0.jpg")


def test_a_flat_folder_needs_no_labels(tree):
    flat = open_images(str(tree / "train" / "china"))
    assert len(flat) == 4 and flat.labels is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_has_the_channels_that_are_asked_for(tree, channels):
    images = open_images(str(tree), channels=channels)
    assert images.open(0).shape[2] == channels
    assert WholeImages(images, (16, 24))[1].shape == (channels, 16, 24)


def test_lists_are_relative_to_themselves(tree):
    (tree / "list.txt").write_text("train/china/0.jpg\nval/flower/1.png\n")
    (tree / "list.csv").write_text('train/china/0.jpg,roof\n"val/flower/1.png",petal\n')
    assert open_images(str(tree / "list.txt")).labels is None and len(open_images(str(tree / "list.txt"))) == 2
    listed = open_images(str(tree / "list.csv"))
    assert listed.classes == ["petal", "roof"] and listed.labels == [1, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: str(t / "nowhere"), "neither a folder"),
        (lambda t: str((t / "empty").mkdir() or t / "empty"), "holds no image files"),
        (lambda t: str((t / "bad.txt").write_text("gone.jpg\n") and t / "bad.txt"), "gone.jpg', which is no file"),
        (lambda t: str((t / "a.pdf").write_bytes(b"") or t / "a.pdf"), "neither a folder"),
    ],
)
def test_data_that_is_not_there_is_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        open_images(make(tmp_path))


@pytest.mark.parametrize(
    ("data", "channels", "message"),
    [
        ("sample", 2, "channels must be 1, 3 or 4 for 'sample', got 2"),
        ("sample", 0, "channels must be at least 1, got 0"),
        ("smaple", 3, "did you mean 'sample'?"),
    ],
)
def test_words_and_channels_that_are_not_there_are_refused(data, channels, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        open_images(data, channels=channels)


def test_a_folder_may_have_a_reserved_name(tree, monkeypatch):
    (tree / "sample").symlink_to(tree / "train" / "china", target_is_directory=True)
    monkeypatch.chdir(tree)
    assert len(open_images("./sample")) == 4 and len(open_images("sample")) == 9000


def test_the_digest_is_of_the_images_not_of_where_they_lie(tree, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("moved") / "data"
    shutil.copytree(tree, elsewhere)
    monkeypatch.chdir(tree.parent)
    digests = {open_images(data).digest() for data in (str(tree), f"{tree.name}/", f"./{tree.name}", str(elsewhere))}
    assert len(digests) == 1
    (elsewhere / "train" / "china" / "new.png").write_bytes(b"")
    assert open_images(str(elsewhere)).digest() not in digests


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
@pytest.mark.parametrize("scale", [(0.2, 1.0), (1.0, 1.0)])
def test_images_from_one_pixel_on(tmp_path, size, scale):
    Image.new("RGB", size, (9, 8, 7)).save(tmp_path / "a.png")
    crops = RandomCrops(open_images(str(tmp_path)), (16, 24), scale, seed=0)
    for position in range(5):
        assert crops[0, position].flatten(1).unique(dim=1).tolist() == [[9], [8], [7]]


def test_many_channels_are_cropped_alike(tmp_path):
    ramp = np.mgrid[:64, :80].sum(0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([ramp] * 6), photometric="minisblack")
    crop = RandomCrops(open_images(str(tmp_path), channels=6), (16, 16), (0.2, 0.5), seed=0)[0, 0]
    assert crop.shape == (6, 16, 16) and (crop == crop[:1]).all() and crop.float().std() > 1


def test_linked_folders_are_followed_and_loops_are_not(tree):
    linked = tree / "linked"
    linked.mkdir()
    (linked / "first").symlink_to(tree / "train" / "china", target_is_directory=True)
    (linked / "second").symlink_to(tree / "train" / "flower", target_is_directory=True)
    (linked / "first" / "loop").symlink_to(linked, target_is_directory=True)
    images = open_images(str(linked))
    assert len(images) == 8 and images.classes == ["first", "second"]


def test_whole_images_of_the_right_size_are_untouched():
    images = open_images("sample", "test")
    assert torch.equal(WholeImages(images, (28, 28))[3][0], torch.from_numpy(sample.sample("test")[0][3].copy()))


def test_crops_depend_on_seed_and_position_alone(tree):
    images = open_images(str(tree))
    crops = RandomCrops(images, (16, 24), (0.2, 1.0), seed=3)
    state = torch.random.get_rng_state()
    first = crops[2, 100]
    assert first.shape == (3, 16, 24) and first.dtype == torch.uint8
    torch.manual_seed(99)
    assert torch.equal(first, crops[2, 100]) and not torch.equal(first, crops[2, 101])
    assert not torch.equal(first, RandomCrops(images, (16, 24), (0.2, 1.0), seed=4)[2, 100])
    torch.random.set_rng_state(state)


def test_a_crop_leaves_the_global_randomness_alone(tree):
    crops = RandomCrops(open_images(str(tree)), (16, 24), (0.2, 1.0), seed=3)
    state = torch.random.get_rng_state()
    crops[0, 0]
    assert torch.equal(state, torch.random.get_rng_state())


def test_crops_are_parts_of_the_image(tmp_path):
    """On an image whose colour is its position, a crop's corners tell the box: its area and aspect are as asked."""
    rows, columns = np.mgrid[:200, :240].astype(np.uint8)
    Image.fromarray(np.dstack([rows, columns, rows])).save(tmp_path / "ramp.png")
    crops = RandomCrops(open_images(str(tmp_path)), (32, 32), (0.3, 0.6), seed=0)
    for position in range(40):
        pixels = crops[0, position].float()
        height = (pixels[0, -1].mean() - pixels[0, 0].mean()) * 32 / 31
        width = (pixels[1, :, -1].mean() - pixels[1, :, 0].mean()) * 32 / 31
        assert 0.3 - 0.05 <= height * width / (200 * 240) <= 0.6 + 0.05
        assert 0.7 <= width / height <= 1.42


def test_numbers_are_classes_by_value_in_folders_too(tmp_path):
    for label in ("10", "9", "0"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / label / "a.png")
    assert open_images(str(tmp_path)).classes == ["0", "9", "10"]
    (tmp_path / "9").rename(tmp_path / "nine")
    assert open_images(str(tmp_path)).classes == ["0", "10", "nine"]


BOXES = [(30, 3, 464, 351), (168, 26, 393, 257), (116, 78, 450, 366)]
SHAPES = [(500, 375), (375, 500), (64, 64), (1500, 120), (90, 1200), (7, 5)]


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("scale", [(0.2, 1.0), (0.9, 1.0)])
def test_boxes_are_torchvisions(size, scale):
    """The same numbers as torchvision draws after its generator is seeded, of images too long for a draw as well."""
    image, state = Image.new("L", size), torch.get_rng_state()
    ours = [draw_box(size, scale, 5, position) for position in range(500)]
    assert torch.equal(state, torch.get_rng_state())
    for position, box in enumerate(ours):
        torch.manual_seed(int(np.random.SeedSequence([5, position]).generate_state(1, np.uint64)[0]))
        top, left, height, width = RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3])
        assert box == (left, top, left + width, top + height)


def test_the_boxes_of_a_run_stay_what_they_were():
    """Written down before images were reduced while they are decoded: a run that goes on takes the same crops."""
    assert [draw_box((500, 375), (0.2, 1.0), 3, position) for position in (0, 1, 1000)] == BOXES


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    """Photographs as JPEG: larger ones, sharp ones, and one with odd sides."""
    folder = tmp_path_factory.mktemp("jpegs")
    for index, photograph in enumerate([*photographs(), photographs()[6].crop((3, 2, 634, 421))]):
        photograph.save(folder / f"{index}.jpg", quality=92, subsampling=(0, 2)[index % 2])
    return open_images(str(folder))


def full(images, index):
    return to_tensor(images.open(index))


REDUCED = {(24, 24): {4, 8}, (32, 48): {2, 4, 8}, (96, 64): {1, 2, 4, 8}, (224, 224): {1, 2}}
"""Crops' sizes, and how many times reduced these photographs are then."""


@pytest.mark.parametrize("size", REDUCED)
def test_reduced_crops_look_as_torchvisions_of_the_full_image(jpegs, size, decoded):
    """For the box moved to whole pixels, within 2.1 gray levels on average in every crop, and within 1 in the mean of
    all."""
    crops, apart, times = RandomCrops(jpegs, size, (0.2, 1.0), seed=1), [], set()
    for index in range(len(jpegs)):
        whole = full(jpegs, index)
        for position in range(20):
            left, top, right, bottom = map(int, draw_box((whole.shape[2], whole.shape[1]), (0.2, 1.0), 1, position))
            decoded.clear()
            crop = crops[index, position]
            shrunk = round(whole.shape[2] / decoded[0][0])
            times.add(shrunk)
            reduced = shrunk > 1
            assert reduced == (right - left >= 3 * size[1] and bottom - top >= 3 * size[0])
            moved = on_whole_pixels((left, top, right, bottom), shrunk, decoded[0])
            left, top, right, bottom = (shrunk * side for side in moved)
            wider = pad(whole, (0, 0, -whole.shape[2] % shrunk, -whole.shape[1] % shrunk), padding_mode="edge")
            expected = resized_crop(wider, top, left, bottom - top, right - left, list(size), InterpolationMode.BICUBIC)
            apart.append((crop.float() - expected.float()).abs().mean().item())
            assert apart[-1] < 2.1 and (reduced or torch.equal(crop, expected))
    assert max(apart) > 0 and np.mean(apart) < 1 and times == REDUCED[size]


@pytest.fixture
def decoded(monkeypatch):
    """Width and height of what is decoded of JPEGs."""
    sizes, decode = [], simplejpeg.decode_jpeg

    def noted(*given, **named):
        pixels = decode(*given, **named)
        sizes.append((pixels.shape[1], pixels.shape[0]))
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", noted)
    return sizes


def across_before_down(image, target):
    """What Pillow makes of an image, one axis after the other."""
    across = image.resize((target[0], image.height), Image.Resampling.BICUBIC)
    return np.asarray(across.resize(target, Image.Resampling.BICUBIC), int)


def on_whole_pixels(box, times, size):
    """A box of the full picture in the reduced one of this size: as wide as it is there, begun at the nearest pixel."""
    (left, top), (right, bottom) = ([side / times for side in corner] for corner in (box[:2], box[2:]))
    x, y = (math.floor(side + 0.5) for side in (left, top))
    return x, y, min(x + round(right - left), size[0]), min(y + round(bottom - top), size[1])


def by_pillow(path, box, times, target):
    """Part of a JPEG that Pillow reduces and resizes: gray levels as it has them. box: in full resolution.

    Across before down, as torch does: Pillow 13 does it the other way round in some shapes, up to 10 levels apart.
    """
    with Image.open(path) as image:
        image.draft(None, (image.width // times, image.height // times))
        image.load()
    return across_before_down(image.crop(on_whole_pixels(box, times, image.size)), target)


def test_crops_are_those_of_pillow_at_every_reduction(jpegs, decoded):
    """The same box and the same reduction: half a gray level apart on average at most, and three anywhere."""
    seen = set()
    for position in range(500):
        index, size = position % len(jpegs), [(224, 224), (96, 64), (24, 24)][position % 3]
        with Image.open(jpegs.names[index]) as image:
            width, height = image.size
        crop = RandomCrops(jpegs, size, (0.2, 1.0), seed=4)[index, position]
        times = round(width / decoded.pop()[0])
        expected = by_pillow(jpegs.names[index], draw_box((width, height), (0.2, 1.0), 4, position), times, size[::-1])
        apart = np.abs(crop.permute(1, 2, 0).numpy() - expected)
        assert apart.mean() <= 0.5 and apart.max() <= 3, (position, times)
        seen.add(times)
    assert seen == {1, 2, 4, 8}


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "progressive", "gray", "restarts"])
def test_rows_that_no_crop_needs_are_left_out(tmp_path, kind, decoded):
    """What is decoded of the rest is what it is in the whole, to the last row of the crop."""
    photograph, path = photographs()[0], tmp_path / "a.jpg"
    options = {
        "4:4:4": {"subsampling": 0},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_rows": 1},
    }
    (photograph.convert("L") if kind == "gray" else photograph).save(path, quality=90, **options.get(kind, {}))
    whole, size = decode(str(path), 3), photograph.size
    for times in (1, 2, 4):
        everything = Part((0.0, 0.0, *map(float, size)), (size[0] // times // 2, size[1] // times // 2))
        right = decode_part(str(path), 3, lambda _, part=everything: part)
        for bottom in range(8 * times + 3, size[1], 37):
            box = (0.0, 0.0, float(size[0]), float(bottom))
            part = Part(box, (size[0] // times // 2, max(bottom // times // 2, 1)))
            found = decode_part(str(path), 3, lambda _, part=part: part)
            rows = -(-bottom // times)
            assert np.array_equal(found.pixels[:rows], right.pixels[:rows])
    fewer = {height for _, height in decoded} - {-(-size[1] // times) for times in (1, 2, 4)}
    assert whole.shape[:2] == size[::-1] and bool(fewer) == (kind != "progressive")


@pytest.mark.parametrize("size", [(64, 48), (16, 24), (7, 200)])
def test_crops_of_gray_and_of_many_channels_are_those_of_pillow(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 5)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.png")
    for name, channels in (("a.png", 1), ("a.tif", 5)):
        crops = RandomCrops(open_images(str(tmp_path / name), channels=channels), size, (0.2, 1.0), seed=2)
        for position, band in ((9, 0), (10, channels - 1)):
            box = draw_box((90, 80), (0.2, 1.0), 2, position)
            expected = across_before_down(Image.fromarray(pixels[..., band]).crop(box), size[::-1])
            assert np.abs(crops[0, position][band].numpy() - expected).max() <= 1


@pytest.mark.parametrize("size", [(48, 48), (40, 60), (300, 100)])
def test_whole_images_are_the_middle_as_pillow_has_it(jpegs, size, decoded):
    """At most half a pixel beside it, since no pixel is cut; in training the same as elsewhere."""
    crops, whole = RandomCrops(jpegs, size, (1.0, 1.0), seed=0), WholeImages(jpegs, size, known=True)
    for index in range(len(jpegs)):
        found = whole[index]
        with Image.open(jpegs.names[index]) as image:
            boxes, times = boxes_near(image.size, size[::-1], round(image.width / decoded[-1][0]))
            image.draft(None, (image.width // times, image.height // times))
            moved = [across_before_down(image.crop(box), size[::-1]) for box in boxes]
        assert torch.equal(crops[index, 0], found[:-1]) and found[-1].eq(255).all()  # all pixels are known
        assert min(np.abs(found[:-1].permute(1, 2, 0).numpy() - one).mean() for one in moved) < 0.5


def boxes_near(size, target, times):
    """The largest part in the middle of an image that has a ratio of sides, reduced, and those beside it by pixels."""
    width, height = min(size[0], size[1] * target[0] / target[1]), min(size[1], size[0] * target[1] / target[0])
    sides = [(size[0] - width) / 2, (size[1] - height) / 2, (size[0] + width) / 2, (size[1] + height) / 2]
    return list(product(*({math.floor(side / times), math.ceil(side / times)} for side in sides))), times


def test_whole_images_have_the_pixels_mean_and_deviation(jpegs):
    for index in range(len(jpegs)):
        found = WholeImages(jpegs, (64, 64))[index].flatten(1) / 255
        exact = fit(jpegs.open(index), (64, 64)).flatten(1) / 255
        assert (found.mean(1) - exact.mean(1)).abs().max() < 0.004
        assert (found.std(1) - exact.std(1)).abs().max() < 0.02
