"""Hugging Face data sets from the disk: saved ones and parquet files, as rows that we decode ourselves."""

import hashlib
import json
import pickle
import re
import sys

import datasets
import numpy
import PIL.Image
import pyarrow.parquet
import pytest
import torch

from pcae.cli import main
from pcae.data.batches import whole_loader
from pcae.data.crops import WholeImages
from pcae.data.images import open_images
from pcae.data.survey import look
from pcae.data.tables.labelled import open_labelled
from tests.data.shards.test_shards import pixels_of, png, write_tar

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
        (datasets.Value("string"), "category", ["b", "a"], (["b", "a"], ["a", "b"])),
        (datasets.List(CLASSES), "labels", [[1], [0]], (["cat", "owl"], NAMES)),
        (datasets.List(CLASSES), "labels", [[1, 0], [0]], (None, NAMES)),
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


@pytest.mark.parametrize(
    ("label", "values", "why"),
    [
        (CLASSES, [1, -1, None], "2 of 3 rows have no label, the first is 'row 1'; label them"),
        (
            datasets.List(datasets.Value("string")),
            [["a"], ["a", "b"], ["b"]],
            r"1 of 3 rows have several .*'row 1' \(a, b\)",
        ),
        (datasets.Value("float32"), [0.5, 1.0, 2.0], "column 'label' holds no words or whole numbers, but 0.5"),
    ],
)
def test_why_labels_do_not_count_is_said(tmp_path, label, values, why):
    assert re.search(why, open_images(saved(tmp_path / "saved", train=rows(0, 3, label, "label", values))).unlabelled)


def test_a_row_without_image_is_unreadable(tmp_path):
    kinds = datasets.Features({"image": datasets.Image()})
    data = datasets.Dataset.from_dict({"image": [{"bytes": png(0), "path": None}] * 9 + [None]}, features=kinds)
    images = open_images(saved(tmp_path / "saved", train=data))
    assert [look(images, n).error for n in (0, 9)] == [None, "the row has no image"]


def test_a_saved_data_set_of_one_split_has_no_held_out_images(tmp_path):
    """As the same rows in one parquet file, which the package calls train."""
    rows(0, 4).save_to_disk(tmp_path / "one")
    (tmp_path / "files").mkdir()
    rows(0, 4).to_parquet(tmp_path / "files" / "data.parquet")
    for name in ("one", "files"):
        train, test = (open_images(f"hf:{tmp_path}/{name}", split) for split in ("train", "test"))
        assert list(train.names) == list(test.names) and train.short(0) == "train/0"
        with pytest.raises(ValueError, match="has no held-out images"):
            open_labelled(f"hf:{tmp_path}/{name}")


def test_tars_are_what_they_are_without_hf(tmp_path):
    """Images by their suffix, labels of words, and the splits."""
    for split, first in (("train", 0), ("val", 4)):
        members = [
            (f"{n}.{suffix}", content)
            for n in range(first, first + 4)
            for suffix, content in (("depth.png", png(n + 50)), ("png", png(n)), ("cls", NAMES[n % 2].encode()))
        ]
        write_tar(tmp_path / "tars" / f"{split}-0.tar", members)
    for split in ("train", "test"):
        rows, tars = open_images(f"hf:{tmp_path}/tars", split), open_images(f"{tmp_path}/tars", split)
        assert (pixels_of(rows), rows.labels, rows.classes) == (pixels_of(tars), tars.labels, sorted(NAMES))
        assert (list(rows.names), rows.digest()) == (list(tars.names), tars.digest())


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (("mask", "image"), "image"),
        (("depth.png", "jpg"), "jpg"),
        (("left", "right"), "left"),
        (("depth", "Img"), "Img"),
    ],
)
def test_of_several_columns_of_images_the_usual_one_counts(tmp_path, columns, wanted):
    kinds = datasets.Features({name: datasets.Image() for name in columns})
    cells = {name: [{"bytes": png(columns.index(name)), "path": None}] for name in columns}
    rows = datasets.Dataset.from_dict(cells, features=kinds)
    rows.save_to_disk(tmp_path / "saved")
    rows.to_parquet(tmp_path / "train.parquet")
    stream = open_images(f"hf:{tmp_path}", stream=True)
    for images in (open_images(f"hf:{tmp_path}/saved"), stream):
        assert images.source(0) == png(columns.index(wanted))
    first = hashlib.blake2b(b"train.parquet\t1\n", digest_size=8).hexdigest()  # of a run that read the first column
    assert (stream.digest() == first) == (wanted == columns[0])


def paths(folder, *named: str) -> str:
    """A parquet file of paths alone, as to_parquet writes images that are files."""
    folder.mkdir(exist_ok=True)
    images = pyarrow.StructArray.from_arrays([pyarrow.nulls(len(named), "binary"), list(named)], ["bytes", "path"])
    info = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})
    table = pyarrow.table({"image": images}).replace_schema_metadata({"huggingface": info})
    pyarrow.parquet.write_table(table, folder / "train.parquet")
    return f"hf:{folder}"


def test_rows_may_name_images_below_their_folder_and_nowhere_else(tmp_path):
    for name in ("files/a.png", "files/sub/b.png", "secret.png", "files2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(7))
    evil = [str(tmp_path / "secret.png"), "../secret.png", "sub/../../secret.png", f"{tmp_path}/files/../files2.png"]
    images = open_images(paths(tmp_path / "files", "a.png", f"{tmp_path}/files/sub/b.png", *evil, "gone.png"))
    assert [look(images, n).error for n in (0, 1)] == [None, None]
    for n in range(2, 6):
        assert f"only the path {evil[n - 2]!r}, which leads out of the data" in str(look(images, n).error)
    assert look(images, 6).error is not None
    with pytest.raises(
        ValueError, match=r"row 0: the row has no bytes of its image, only the path '/.*secret\.png', whi"
    ):
        open_images(paths(tmp_path / "evil", evil[0]))


def test_paths_without_bytes_get_them_by_the_remedy(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(png(3))
    paths(tmp_path / "rows", str(tmp_path / "a.png"))
    with pytest.raises(SystemExit):
        main(["index", str(tmp_path / "rows"), str(tmp_path / "index.json")])
    said = capsys.readouterr().err.splitlines()[-1]
    assert "train.parquet' has paths of images, not their bytes; write it with them: datasets.load_dataset(" in said
    remedy = said.partition("write it with them: ")[2].partition(", and give")[0].replace("FOLDER", f"{tmp_path}/with")
    eval(remedy, {"datasets": datasets})
    assert open_images(f"hf:{tmp_path}/with").source(0) == png(3)


def test_lists_of_images_and_arrays_are_refused_with_a_remedy_that_works(tmp_path):
    images = [[{"bytes": png(n), "path": None} for n in (row, row + 5)] for row in range(2)]
    kinds = datasets.Features({"views": datasets.List(datasets.Image())})
    lists = datasets.Dataset.from_dict({"views": images}, features=kinds)
    arrays = datasets.Dataset.from_dict({"x": [[[[n] * 3] * 4] * 4 for n in range(2)]})
    said = {
        "lists": "has several images a row, in its column 'views'",
        "arrays": "its column 'x' holds arrays of numbers",
    }
    for name, given in (("lists", lists), ("arrays", arrays)):
        given.save_to_disk(tmp_path / name)
        with pytest.raises(ValueError, match=said[name]) as refused:
            open_images(f"hf:{tmp_path}/{name}")
        remedy = str(refused.value)[str(refused.value).index("rows.map(") :].partition(", and give")[0]
        stored = {"rows": datasets.load_from_disk(tmp_path / name), "PIL": PIL, "numpy": numpy}
        eval(remedy.replace("FOLDER", f"{tmp_path}/{name} made"), stored)
    made = open_images(f"hf:{tmp_path}/lists made")
    assert [made.source(n) for n in range(4)] == [png(0), png(5), png(1), png(6)]
    assert [set(pixels) for pixels in pixels_of(open_images(f"hf:{tmp_path}/arrays made"))] == [{0}, {1}]


@pytest.mark.parametrize("kind", ["bytes", "struct", "path"])
def test_a_column_of_files_becomes_one_of_images_by_the_remedy(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(png(3))
    cell = {"bytes": png(3), "struct": {"bytes": png(3), "path": None}, "path": f"{tmp_path}/a.png"}[kind]
    datasets.Dataset.from_dict({"text": ["a"], "image": [cell]}).save_to_disk(tmp_path / "files")
    with pytest.raises(ValueError, match=r"has no column of images, only text, image; where 'image' holds") as refused:
        open_images(f"hf:{tmp_path}/files")
    remedy = str(refused.value)[str(refused.value).index("rows.cast") :].partition(", and give")[0]
    stored = {"rows": datasets.load_from_disk(tmp_path / "files"), "datasets": datasets}
    eval(remedy.replace("FOLDER", f"{tmp_path}/made"), stored)
    assert open_images(f"hf:{tmp_path}/made").source(0) == png(3)


@pytest.mark.parametrize(("module", "package"), [("h5py", "h5py"), ("lance", "pylance")])
def test_a_missing_reader_is_named_by_its_package(monkeypatch, module, package):
    def fail(name, config):
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    monkeypatch.setattr(datasets, "load_dataset_builder", fail)
    with pytest.raises(ValueError, match=f"^data 'hf:one' needs the package {package}: pip install {package}$"):
        open_images("hf:one")


def test_a_folder_of_rows_says_how_it_is_read(tmp_path):
    (tmp_path / "files").mkdir()
    rows(0, 2).to_parquet(tmp_path / "files" / "train.parquet")
    rows(0, 2).save_to_disk(tmp_path / "saved")
    for data, found in ((tmp_path / "files", "1 .parquet"), (tmp_path / "saved", "1 .arrow")):
        with pytest.raises(ValueError, match=rf"holds no image files .*{found}; give hf:{data} for their rows"):
            open_images(str(data))
        assert len(open_images(f"hf:{data}")) == 2
    with pytest.raises(ValueError, match=f"is read with its folder: give hf:{tmp_path}/files"):
        open_images(f"{tmp_path}/files/train.parquet")


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

    monkeypatch.setattr(datasets, "load_dataset_builder", fail)
    name, _, config = data.removeprefix("hf:").partition(":")
    message = (
        rf"data '{data}' cannot be loaded \(no way to {name} in {config or None}\); check the name and the network"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        open_images(data)


def test_no_name_is_refused_before_anything_is_searched():
    with pytest.raises(ValueError, match=r"data 'hf:' names no data set; it is written hf:NAME"):
        open_images("hf:")
