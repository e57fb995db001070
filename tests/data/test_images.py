import numpy as np
import pytest
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


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_channels_decide_the_mode(tree, channels, mode):
    images = open_images(str(tree), channels=channels)
    assert images.open(0).mode == mode
    assert WholeImages(images, (16, 24))[1].shape == (channels, 16, 24)


def test_lists_are_relative_to_themselves(tree):
    (tree / "list.txt").write_text("train/china/0.jpg\nval/flower/1.png\n")
    (tree / "list.csv").write_text('train/china/0.jpg,roof\n"val/flower/1.png",petal\n')
    assert open_images(str(tree / "list.txt")).labels is None and len(open_images(str(tree / "list.txt"))) == 2
    listed = open_images(str(tree / "list.csv"))
    assert listed.classes == ["petal", "roof"] and listed.labels == [1, 0]


def test_exif_rotation_is_undone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert open_images(str(tmp_path)).open(0).size == (20, 40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: str(t / "nowhere"), "neither a folder"),
        (lambda t: str((t / "empty").mkdir() or t / "empty"), "holds no image files"),
        (lambda t: str((t / "bad.txt").write_text("gone.jpg\n") and t / "bad.txt"), "gone.jpg', which is no file"),
        (lambda t: str((t / "a.jpg").write_bytes(b"") or t / "a.jpg"), "neither a folder"),
    ],
)
def test_data_that_is_not_there_is_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        open_images(make(tmp_path))


def test_channels_that_files_do_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"channels must be one of \[1, 3, 4\]"):
        open_images("sample", channels=2)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    with pytest.raises(ValueError, match="torn.png' cannot be read"):
        open_images(str(tmp_path)).open(0)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_to_8_not_cut_off(tmp_path, suffix):
    Image.fromarray(np.array([[0, 1000, 25_700, 65_535]], dtype=np.uint16)).save(tmp_path / f"a.{suffix}")
    assert WholeImages(open_images(str(tmp_path), channels=1), (1, 4))[0].tolist() == [[[0, 3, 100, 255]]]


def test_pixels_of_unknown_range_are_refused_by_name(tmp_path):
    Image.fromarray(np.array([[0.5, 2.0]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif' cannot be read: its pixels are of mode F"):
        open_images(str(tmp_path)).open(0)


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
