import shutil

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop

from pcae.data import sample
from pcae.data.crops import RandomCrops, RoughImages, WholeImages
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


@pytest.mark.parametrize(("channels", "mode"), [(1, ["L"]), (3, ["RGB"]), (4, ["L"] * 4)])
def test_channels_decide_the_mode(tree, channels, mode):
    images = open_images(str(tree), channels=channels)
    assert [plane.mode for plane in images.open(0)] == mode
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
def test_boxes_are_distributed_as_torchvisions(size):
    """Area, aspect and place of 1,500 boxes of either, by Kolmogorov and Smirnov's test for two samples."""
    count = 1_500
    crops = RandomCrops(open_images("sample"), (16, 16), (0.2, 1.0), seed=5)
    ours = measures(np.array([crops.box(size, position) for position in range(count)]))
    image = Image.new("L", size)
    torch.manual_seed(77)
    drawn = [RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    theirs = measures(np.array([(left, top, left + width, top + height) for top, left, height, width in drawn]))
    for name, values in ours.items():
        assert ks_2samp(values, theirs[name], method="asymp").pvalue > 1e-3, name
    narrower = RandomCrops(open_images("sample"), (16, 16), (0.3, 1.0), seed=5)
    other = measures(np.array([narrower.box(size, position) for position in range(count)]))
    if min(size) > 60 and max(size) < 3 * min(size):  # of longer images, the middle is taken nearly always
        assert ks_2samp(other["area"], theirs["area"], method="asymp").pvalue < 1e-6


def measures(boxes):
    """What decides a crop, of boxes (left, top, right, bottom)."""
    left, top, right, bottom = boxes.T
    width, height = right - left, bottom - top
    return {"area": width * height, "aspect": width / height, "across": left + right, "down": top + bottom}


def test_the_boxes_of_a_run_stay_what_they_were():
    """Written down before images were reduced while they are decoded: a run that goes on takes the same crops."""
    crops = RandomCrops(open_images("sample"), (16, 16), (0.2, 1.0), seed=3)
    assert [crops.box((500, 375), position) for position in (0, 1, 1000)] == BOXES


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    """Photographs as JPEG: larger ones, sharp ones, and one with odd sides."""
    folder = tmp_path_factory.mktemp("jpegs")
    for index, photograph in enumerate([*photographs(), photographs()[6].crop((3, 2, 634, 421))]):
        photograph.save(folder / f"{index}.jpg", quality=92, subsampling=(0, 2)[index % 2])
    return open_images(str(folder))


def full(images, index):
    return torch.from_numpy(np.array(images.open(index)[0])).permute(2, 0, 1)


REDUCED = {(24, 24): {2, 4, 8}, (32, 48): {1, 2, 4, 8}, (96, 64): {1, 2, 4}, (224, 224): {1, 2}}
"""Crops' sizes, and how many times reduced these photographs are then."""


@pytest.mark.parametrize("size", REDUCED)
def test_reduced_crops_look_as_torchvisions_of_the_full_image(jpegs, size, decoded):
    """For the same box, within 2 gray levels on average in every crop, and within 1 in the mean of all."""
    crops, apart, times = RandomCrops(jpegs, size, (0.2, 1.0), seed=1), [], set()
    for index in range(len(jpegs)):
        whole = full(jpegs, index)
        for position in range(20):
            left, top, right, bottom = map(int, crops.box((whole.shape[2], whole.shape[1]), position))
            decoded.clear()
            crop = crops[index, position]
            times.add(round(whole.shape[2] / decoded[0][0]))
            reduced = decoded != [(whole.shape[2], whole.shape[1])]
            assert reduced == (right - left >= 4 * size[1] and bottom - top >= 4 * size[0])
            expected = resized_crop(whole, top, left, bottom - top, right - left, list(size), InterpolationMode.BICUBIC)
            apart.append((crop.float() - expected.float()).abs().mean().item())
            assert apart[-1] < 2 and (reduced or torch.equal(crop, expected))
    assert max(apart) > 0 and np.mean(apart) < 1 and times == REDUCED[size]


@pytest.fixture
def decoded(monkeypatch):
    """The sizes at which JPEGs are decoded."""
    sizes, load = [], JpegImageFile.load

    def noted(image):
        if image.tile:
            sizes.append(image.size)
        return load(image)

    monkeypatch.setattr(JpegImageFile, "load", noted)
    return sizes


@pytest.mark.parametrize("size", [(64, 48), (16, 24), (7, 200)])
def test_crops_of_gray_and_of_many_channels_are_those_of_pillow(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 5)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.png")
    for name, channels in (("a.png", 1), ("a.tif", 5)):
        crops = RandomCrops(open_images(str(tmp_path / name), channels=channels), size, (0.2, 1.0), seed=2)
        for position, band in ((9, 0), (10, channels - 1)):
            box = crops.box((90, 80), position)
            expected = Image.fromarray(pixels[..., band]).resize(size[::-1], Image.Resampling.BICUBIC, box=box)
            assert np.array_equal(crops[0, position][band].numpy(), np.asarray(expected))


@pytest.mark.parametrize("size", [(48, 48), (40, 60), (300, 100)])
def test_whole_training_images_are_whole_images(jpegs, size):
    """With crop_scale (1, 1), of which JPEGs alone are reduced; what decides accuracies is not."""
    crops, exact = RandomCrops(jpegs, size, (1.0, 1.0), seed=0), WholeImages(jpegs, size)
    for index in range(len(jpegs)):
        assert (crops[index, 0].float() - exact[index].float()).abs().mean() < 2
        assert torch.equal(crops[index, 0], RoughImages(jpegs, size)[index])
        by_pillow = ImageOps.fit(jpegs.open(index)[0], size[::-1], Image.Resampling.BICUBIC)
        assert np.array_equal(exact[index].permute(1, 2, 0).numpy(), np.asarray(by_pillow))


def test_rough_images_have_the_pixels_mean_and_deviation(jpegs):
    for index in range(len(jpegs)):
        rough, exact = (kind(jpegs, (64, 64))[index].flatten(1) / 255 for kind in (RoughImages, WholeImages))
        assert (rough.mean(1) - exact.mean(1)).abs().max() < 0.002
        assert (rough.std(1) - exact.std(1)).abs().max() < 0.02
