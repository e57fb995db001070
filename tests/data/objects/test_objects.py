"""Datasets, lists and arrays of the caller as DATA: the images of a folder of them, or a line that says why not."""

import itertools

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from pcae.data import Images, open_images
from pcae.data.survey import look
from pcae.data.tables.labelled import open_labelled
from pcae.data.tables.several_labels import with_label_sets
from pcae.data.unreadable import BadFiles
from pcae.evaluation.recipe_choice import typical_side
from pcae.settings.sources import as_data


class Own(Dataset):
    """A Dataset of what it is given."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


class Counted(Endless):
    def __len__(self):
        return 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three PNG files of each of two classes, of different sizes."""
    noise, place = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for label in ("owl", "ant"):
        (place / label).mkdir()
        for index in range(3):
            pixels = noise.integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / label / f"{index}.png")
    return place


def pixels_of(images: Images) -> list[np.ndarray]:
    return [images.open(index) for index in range(len(images))]


def arrays(folder) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))]


KINDS = {
    "pictures": lambda pixels: Image.fromarray(pixels),
    "arrays": lambda pixels: pixels,
    "tensors": lambda pixels: torch.from_numpy(pixels.copy()).permute(2, 0, 1),
    "tuples": lambda pixels: (Image.fromarray(pixels), 1),
    "dicts": lambda pixels: {"img": pixels, "label": 1},
    "pixel values": lambda pixels: {"pixel_values": pixels, "labels": 0},
    "dicts of one array": lambda pixels: {"x": pixels, "y": "owl"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_item_is_the_image_of_the_file(folder, kind):
    found = open_images(Own([KINDS[kind](pixels) for pixels in arrays(folder)]))
    assert all(map(np.array_equal, pixels_of(found), pixels_of(open_images(folder)))) and len(found) == 6


def test_items_may_be_files(folder):
    paths = sorted(folder.rglob("*.png"))
    for data in (paths, Own(paths), [(path, 0) for path in paths], Own([path.read_bytes() for path in paths])):
        assert all(map(np.array_equal, pixels_of(open_images(data)), pixels_of(open_images(folder))))


MODES = ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"]
INK = ("CMYK", 4)
"""Four channels of a TIFF of ink are its bands."""


@pytest.mark.parametrize(("mode", "channels"), [pair for pair in itertools.product(MODES, [1, 3, 4]) if pair != INK])
def test_pictures_have_the_channels_of_their_files(tmp_path, mode, channels):
    noise = np.random.default_rng(0).integers(0, 256, (9, 8, 4), dtype=np.uint8)
    picture = Image.fromarray(noise).convert(mode)
    picture.save(tmp_path / ("a.tif" if mode in {"CMYK", "YCbCr"} else "a.png"), compression=None)
    with Image.open(next(tmp_path.iterdir())) as read:
        found = open_images([read], channels=channels).open(0)
    assert np.array_equal(found, open_images(tmp_path, channels=channels).open(0))


def test_labels_are_those_of_torchvisions_datasets_and_of_their_parts(folder):
    whole, expected = ImageFolder(folder), open_images(folder)
    found = open_images(whole)
    assert (found.labels, found.classes) == (expected.labels, expected.classes) == ([0, 0, 0, 1, 1, 1], ["ant", "owl"])
    assert open_images(Subset(whole, [5, 0])).labels == [1, 0]
    assert open_images(Subset(Subset(whole, [4, 0, 5]), [0, 1])).classes == ["ant", "owl"]
    assert open_images(ConcatDataset([Subset(whole, [5]), whole])).labels == [1, 0, 0, 0, 1, 1, 1]
    tensors = TensorDataset(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([7, 3]))
    assert open_images(tensors).classes == ["3", "7"]


def test_targets_that_items_contradict_do_not_count(folder):
    """A target_transform changes what items say, and not what `targets` has."""
    turned = open_images(ImageFolder(folder, target_transform=lambda label: 1 - label), labels=True)
    assert turned.labels == [1, 1, 1, 0, 0, 0] and turned.classes == ["ant", "owl"]


def test_labels_in_items_are_read_where_they_are_wanted(folder, capsys):
    data = Own([(pixels, word) for pixels, word in zip(arrays(folder), "bababb", strict=True)])
    assert open_images(data).labels is None and "labels=True" in open_images(data).unlabelled
    capsys.readouterr()
    found = open_images(data, labels=True)
    assert (found.labels, found.classes) == ([1, 0, 1, 0, 1, 1], ["a", "b"])
    assert capsys.readouterr().err == "labels: read from all 6 items of Own(6), once; its .targets would spare that\n"


def test_names_that_two_classes_have_stay_apart():
    data = Own([(np.zeros((2, 2), np.uint8), label) for label in (0, 1, 2)])
    data.classes = [("crane", "bird"), "crane", "crane"]
    assert open_images(data, labels=True).classes == ["crane, bird", "crane (1)", "crane (2)"]


def test_an_item_that_raises_is_an_unreadable_file_of_its_number(folder):
    some = arrays(folder)
    data = Own([(some[0], 1), KeyError("image"), (some[2], 0), (some[3] / 255.0, 0)])
    images = open_images(data, labels=True)
    bad = BadFiles(images, 0.9)
    for index in range(4):
        error = look(images, index).error
        bad.add({index: error} if error else {})
    assert bad.found.keys() == {1, 3} and bad.found[1] == "KeyError: 'image'" and "float64 array" in bad.found[3]
    assert bad.by_name().keys() == {"Own(4)[1]", "Own(4)[3]"} and [images.labels[0], images.labels[2]] == [1, 0]
    data.items[1] = (some[1], 1)  # its label is not known: it stays unreadable
    assert "KeyError" in look(images, 1).error and open_images(data, labels=True).labels == [1, 1, 0, 0]


def test_a_first_item_that_raises_is_no_reason_to_refuse_the_others(folder):
    assert len(open_images(Own([OSError("gone"), *arrays(folder)]))) == 7


def test_rows_of_hugging_face_are_the_images_of_the_folder(folder):
    paths = [str(path) for path in sorted(folder.rglob("*.png"))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "owl"])})
    rows = datasets.Dataset.from_dict({"image": paths, "label": [0, 0, 0, 1, 1, 1]}, features)
    expected = open_images(folder)
    turned = rows.with_transform(lambda some: {**some, "image": [one.convert("RGB") for one in some["image"]]})
    for data in (rows, rows.with_format("torch"), turned):
        found = open_images(data)
        assert all(map(np.array_equal, pixels_of(found), pixels_of(expected)))
        assert (found.labels, found.classes) == (expected.labels, expected.classes)
    splits = datasets.DatasetDict(train=rows, test=rows.select([5, 0]))
    assert open_images(splits, "test").labels == [1, 0] and len(open_images(splits)) == 6


def test_a_dict_has_splits_of_whatever_is_data(folder):
    data = {"train": ImageFolder(folder), "val": folder / "owl"}
    assert len(open_images(data)) == 6 and len(open_images(data, "test")) == 3
    train, test = open_labelled(as_data({"train": ImageFolder(folder), "test": Subset(ImageFolder(folder), [5])}))
    assert (len(train), test.labels) == (6, [1])


def test_one_array_is_its_images():
    gray, colours = np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 5, 6), np.zeros((2, 5, 6, 3), np.uint8)
    assert open_images(gray).channels == 1 and np.array_equal(open_images(gray).open(1)[..., 0], gray[1])
    assert open_images(colours).channels == 3 and open_images(gray, channels=3).open(0).shape == (5, 6, 3)
    tensor = torch.from_numpy(gray)[:, None].expand(-1, 2, -1, -1)
    assert open_images(tensor).channels == 2 and open_images(tensor, bands=(2,)).open(0).shape == (5, 6, 1)
    assert typical_side(open_images([colours[0]])) == 5


def test_bands_are_picked_of_items_too():
    bands = np.arange(4, dtype=np.uint8) * np.ones((3, 3, 1), np.uint8)
    assert open_images([bands], bands=(4, 2)).open(0)[0, 0].tolist() == [3, 1]


def test_several_data_sets_are_told_apart(folder):
    two = open_images([ImageFolder(folder), ImageFolder(folder), folder / "owl"])
    assert len(two) == 15 and (two.names[0], two.names[6]) == ("ImageFolder(6)[0]", "ImageFolder(6) #2[0]")
    assert len({two.short(index) for index in range(15)}) == 15


def test_images_are_data_themselves(folder):
    images = open_images(folder)
    again = open_images(images[1:4], channels=1)
    assert again.channels == 1 and again.names == images.names[1:4] and again.labels == [0, 0, 1]
    assert open_images([images[:2], images[2:]]).labels == images.labels
    with pytest.raises(ValueError, match=r"opened with bands None, not \(3, 2, 1\); open it with bands"):
        open_images(images, bands=(3, 2, 1))


def test_images_are_a_map_style_dataset(folder):
    images = open_images(folder)
    pixels, label = images[-1]
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 22, 30) and label == 1
    assert np.array_equal(pixels.permute(1, 2, 0), images.open(5)) and len(list(images)) == 6
    assert isinstance(images[1:3], Images) and images[::-1].labels == [1, 1, 1, 0, 0, 0]
    with pytest.raises(IndexError):
        images[6]
    assert repr(open_images(np.zeros((4, 5, 6), np.uint8))) == "Images(4 images, 1 channels, 'ndarray(4)')"
    assert "6 images, 3 channels, 2 classes" in repr(images) and "\n" not in repr(images)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_work_in_a_data_loader(folder, workers):
    images = open_images([image for image in arrays(folder) if len(image) == 20])
    batches = list(DataLoader(images, batch_size=2, num_workers=workers))
    assert [tuple(batch.shape) for batch in batches] == [(2, 3, 20, 30)]


def test_what_cannot_be_sent_to_a_process_that_does_not_fork_is_said():
    images = open_images(Own([np.zeros((2, 2), np.uint8), lambda: None]))
    loader = DataLoader(images, num_workers=1, multiprocessing_context="spawn")
    with pytest.raises(ValueError, match=r"'Own\(2\)' cannot be sent to the processes that read .*give workers=0"):
        next(iter(loader))


GRAY = np.zeros((4, 4), np.uint8)
REFUSED = [
    (None, "data must be a path, .* got NoneType"),
    ((image for image in [GRAY]), "got generator"),
    (Endless(), "got Endless; .* a list or shards"),
    (Counted(), "is an IterableDataset, .* give a map-style Dataset"),
    (Image.fromarray(GRAY), r"got Image; give \[image\] for one image"),
    ([], "names no source"),
    (Own([]), r"'Own\(0\)' is empty"),
    ({}, "has no splits"),
    ({"a": [GRAY], "b": [GRAY]}, "has the splits a, b; for train, one of train is wanted"),
    ([torch.rand(3, 4, 4)], "item 0: it is a float32 tensor; give uint8: leave ToTensor"),
    (Own([(GRAY / 255.0, 1)]), "item 0: it is a float64 array"),
    (Own([Image.new("I;16", (3, 3))]), "item 0: it is a picture of mode I;16"),
    ([np.zeros((4, 4, 5), np.uint8)], "item 0: it has 5 channels, not 3"),
    ([np.zeros((4, 4, 4), np.uint8)], "item 0: it has 4 channels, not 3"),
    ([np.zeros((3, 4, 64), np.uint8)], "item 0: it has 64 channels, not 3"),
    ([np.zeros((2, 4, 4, 3), np.uint8)], "item 0: it is array of 2 x 4 x 4 x 3; give height x width x channels"),
    ([{"a": 1, "b": 2}], "item 0: the item has 'a', 'b', and no image"),
    ([5], "item 0: the item is int"),
    (np.zeros((4, 4, 3), np.uint8), r"may be one image or many gray ones; give array\[None\] for one"),
    (np.zeros((4, 5, 5)), "is array of float64; give uint8"),
    (np.array(["a.png", "b.png"]), r"give lists: array.tolist\(\)"),
    ([Own([GRAY]), GRAY], "list of paths or data sets, but holds ndarray too"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[message[:20] for _, message in REFUSED])
def test_what_is_no_data_is_refused_in_one_line(data, message):
    with pytest.raises(ValueError, match=message) as refused:
        open_images(data)
    assert "\n" not in str(refused.value)


def test_labels_that_cannot_be_are_refused(folder):
    data = ImageFolder(folder)
    with pytest.raises(ValueError, match="has no held-out images; give validation=ANOTHER"):
        open_labelled(as_data(data))
    with pytest.raises(ValueError, match="has no held-out images"):
        open_labelled(same := as_data(data), validation=same)
    with pytest.raises(ValueError, match="has no labels"):
        open_labelled(as_data([GRAY]), validation=as_data(data))
    with pytest.raises(ValueError, match="the label 9 at item 1, and its classes are 0 to 1"):
        data.targets[1] = 9
        open_images(data)
    train, test = open_labelled(as_data(ImageFolder(folder)), validation=as_data(ImageFolder(folder)))
    assert train.labels == test.labels
    with pytest.raises(ValueError, match=r"item 1 is 0.5; give a whole number or a word each"):
        open_labelled(as_data(Own([(GRAY, 0), (GRAY, 0.5)])), validation=as_data(ImageFolder(folder)))


def test_the_same_object_twice_is_refused(folder):
    data = ImageFolder(folder)
    with pytest.raises(ValueError, match="same object twice"):
        open_images([data, data])


def test_a_stream_of_objects_is_refused():
    with pytest.raises(ValueError, match="is no stream"):
        open_images([GRAY], stream=True)


HOT = [[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]
SETS = [("b", "c"), ("c",), (), ("a", "b")]


def sets(data) -> list[tuple[str, ...]]:
    images = with_label_sets(open_images(as_data(data), labels=True), as_data(data))
    return [tuple(images.classes[place] for place in some) for some in images.label_sets]


@pytest.mark.parametrize("labels", [torch.tensor(HOT).float(), np.array(HOT, bool), HOT, [[1, 2], [2], [], [0, 1]]])
def test_datasets_of_several_labels_have_them_in_items_or_targets(labels):
    data = Own([(GRAY, label) for label in labels])
    data.classes = ["a", "b", "c"]
    assert sets(data) == SETS and open_images(data, labels=True).labels is None
    data.targets = labels
    data.items = [GRAY] * 4
    assert sets(data) == SETS and sets(Subset(data, [3, 1])) == [SETS[3], SETS[1]]


def test_classes_without_names_are_numbered_and_names_may_stand_in_items():
    assert sets(Own([(GRAY, torch.tensor(label)) for label in HOT])) == [("1", "2"), ("2",), (), ("0", "1")]
    assert sets(Own([{"image": GRAY, "labels": list(label)} for label in SETS])) == SETS
    assert sets(Own([(GRAY, [12, 7]), (GRAY, [7])])) == [("7", "12"), ("7",)]


def test_tuples_and_scalars_of_numpy_and_torch_are_labels_too():
    assert sets(Own([(GRAY, (0, 1)), (GRAY, (2,))])) == [("0", "1"), ("2",)]
    assert sets(Own([(GRAY, [np.str_("a"), "b"]), (GRAY, [np.str_("b")])])) == [("a", "b"), ("b",)]
    assert sets(Own([(GRAY, [torch.tensor(5)]), (GRAY, [np.int64(7)])])) == [("5",), ("7",)]


def test_the_first_item_may_have_no_label():
    assert sets(Own([(GRAY, None), (GRAY, ["a"])])) == [(), ("a",)]


def test_lists_that_can_be_read_in_two_ways_are_refused():
    pairs = [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="two classes or 0 and 1 for each of two; give names, or True and False"):
        sets(Own([(GRAY, pair) for pair in pairs]))
    assert sets(Own([(GRAY, [bool(one) for one in pair]) for pair in pairs])) == [("1",), ("0",)]


@pytest.mark.parametrize("label", [[0.0, 0.5, 1.0], [0, -1, 1], [2, 2], [[0, 1, 1]], torch.rand(2, 3), {"a": 1}])
def test_labels_that_are_neither_marks_nor_classes_are_named(label):
    data = Own([(GRAY, HOT[0]), (GRAY, label)])
    with pytest.raises(ValueError, match=r"that of item 1 is .*; give a whole number or a word each, or") as refused:
        with_label_sets(open_images(as_data(data), labels=True), as_data(data))
    assert "\n" not in str(refused.value)
