import shutil

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from pcae.data import sample
from pcae.data.images import RandomCrops, WholeImages, open_images


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
