"""Hugging Face data sets from the disk: saved ones and parquet files, as rows that we decode ourselves."""

import pickle
import sys

import datasets
import pytest
import torch

from pcae.data.batches import whole_loader
from pcae.data.crops import WholeImages
from pcae.data.images import open_images
from pcae.data.survey import look
from tests.data.shards.test_shards import pixels_of, png

NAMES = ["owl", "cat"]
CLASSES = datasets.ClassLabel(names=NAMES)


@pytest.fixture(autouse=True)
def no_traces(tmp_path, monkeypatch):
    """Copies of data go to a folder of the test's."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def rows(first: int, last: int, label=CLASSES, column="label", values=None):
    """Pictures with a number before them and a label behind."""
    count = range(first, last)
    columns = {
        "id": list(count),
        "picture": [{"bytes": png(n), "path": f"{n}.png"} for n in count],
        column: values or [n % 2 for n in count],
    }
    kinds = {"id": datasets.Value("int64"), "picture": datasets.Image(), column: label}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def saved(folder, **splits) -> str:
    datasets.DatasetDict(splits).save_to_disk(folder)
    return f"hf:{folder}"


def test_a_saved_data_set_has_its_images_labels_and_splits(tmp_path):
    data = saved(tmp_path / "saved", train=rows(0, 4), test=rows(4, 6), validation=rows(6, 9))
    train, test = open_images(data), open_images(data, "test")
    assert [train.source(n) for n in range(4)] == [png(n) for n in range(4)]
    assert [test.source(n) for n in range(3)] == [png(n) for n in range(6, 9)]
    assert train.labels == [0, 1, 0, 1] and train.classes == test.classes == NAMES
    assert (train.names[3], train.short(3), test.short(0)) == (f"{data}/train/3", "train/3", "validation/0")
    assert look(train, 2).bytes == len(png(2)) and look(train, 2).error is None
    assert train.without([0]).source(0) == png(1) and train.digest() != test.digest()


def test_a_folder_of_parquet_files_is_a_data_set(tmp_path):
    (tmp_path / "files").mkdir()
    rows(0, 4).to_parquet(tmp_path / "files" / "train-0.parquet")
    rows(4, 6).to_parquet(tmp_path / "files" / "test-0.parquet")
    train, test = (open_images(f"hf:{tmp_path}/files", split) for split in ("train", "test"))
    assert [test.source(n) for n in range(2)] == [png(4), png(5)]
    assert len(train) == 4 and train.labels == [0, 1, 0, 1] and train.classes == NAMES


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_processes_change_nothing(tmp_path, workers):
    images = open_images(saved(tmp_path / "saved", train=rows(0, 6)))
    expected = torch.stack([WholeImages(images, (16, 16))[index] for index in range(6)])
    loader = whole_loader(images, (16, 16), batch_size=2, workers=workers)
    assert torch.equal(torch.cat([batch.pixels for batch in loader]), expected)
    assert pixels_of(pickle.loads(pickle.dumps(images))) == pixels_of(images)


def test_images_may_be_paths(tmp_path):
    (tmp_path / "a.png").write_bytes(png(3))
    data = datasets.Dataset.from_dict({"image": [str(tmp_path / "a.png")]}).cast_column("image", datasets.Image())
    data.save_to_disk(tmp_path / "saved")  # which puts the bytes in
    assert pixels_of(open_images(f"hf:{tmp_path}/saved")) == pixels_of(open_images(str(tmp_path / "a.png")))


@pytest.mark.parametrize(
    ("label", "column", "values", "expected"),
    [
        (CLASSES, "fine", [1, 0], (["cat", "owl"], NAMES)),
        (CLASSES, "label", [1, -1], (None, NAMES)),
        (CLASSES, "label", [1, None], (None, NAMES)),
        (datasets.Value("int64"), "labels", [10, 9], (["10", "9"], ["9", "10"])),
        (datasets.Value("string"), "label", ["b", "a"], (["b", "a"], ["a", "b"])),
        (datasets.Value("string"), "label", ["b", None], (None, [])),
        (datasets.Value("float32"), "label", [0.5, 0.1], (None, [])),
        (datasets.Value("string"), "caption", ["b", "a"], (None, [])),
    ],
)
def test_labels_are_a_class_label_or_a_column_of_that_name(tmp_path, label, column, values, expected):
    images = open_images(saved(tmp_path / "saved", train=rows(0, 2, label, column, values)))
    names = images.labels and [images.classes[n] for n in images.labels]
    assert (names, images.classes) == expected


def test_a_row_without_image_is_unreadable(tmp_path):
    kinds = datasets.Features({"image": datasets.Image()})
    data = datasets.Dataset.from_dict({"image": [{"bytes": png(0), "path": None}] * 9 + [None]}, features=kinds)
    images = open_images(saved(tmp_path / "saved", train=data))
    assert [look(images, n).error for n in (0, 9)] == [None, "the row has no image"]


def test_a_lone_split_serves_for_both_and_unknown_ones_are_named(tmp_path):
    rows(0, 3).save_to_disk(tmp_path / "one")
    both = [open_images(f"hf:{tmp_path}/one", split) for split in ("train", "test")]
    assert [len(images) for images in both] == [3, 3]
    lone = saved(tmp_path / "lone", everything=rows(0, 3))
    assert {open_images(lone, split).short(0) for split in ("train", "test")} == {"everything/0"}
    data = saved(tmp_path / "odd", one=rows(0, 2), test=rows(2, 3))
    assert len(open_images(data, "test")) == 1
    with pytest.raises(ValueError, match=r"has the splits one, test; for train, one of train is wanted"):
        open_images(data)


def test_a_data_set_without_images_is_refused_with_its_columns(tmp_path):
    datasets.Dataset.from_dict({"text": ["a"], "label": [1]}).save_to_disk(tmp_path / "texts")
    with pytest.raises(ValueError, match=r"texts' has no column of images, only text, label$"):
        open_images(f"hf:{tmp_path}/texts")


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"^data hf:NAME needs the package datasets: pip install datasets$"):
        open_images("hf:mnist")


@pytest.mark.parametrize("data", ["hf:nobody/nothing", "hf:nobody/nothing:large", "hf:fashion-mnist"])
def test_what_cannot_be_loaded_is_said_in_one_line(monkeypatch, data):
    def fail(name, config):
        raise ConnectionError(f"no way to {name}\n  in {config}")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    name, _, config = data.removeprefix("hf:").partition(":")
    message = (
        rf"data '{data}' cannot be loaded \(no way to {name} in {config or None}\); check the name and the network"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        open_images(data)


def test_no_name_is_refused_before_anything_is_searched():
    with pytest.raises(ValueError, match=r"data 'hf:' names no data set; it is written hf:NAME"):
        open_images("hf:")
