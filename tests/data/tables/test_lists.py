"""Tables as users of Hugging Face, timm, lightly, pandas and Kaggle write them; one label an image, or why not."""

import pyarrow
import pytest
from pyarrow import parquet

from pcae.data.images import open_images
from pcae.data.sources import list_data
from pcae.data.tables.labelled import open_labelled
from pcae.data.tables.lists import column_of
from tests.data.tables.test_labelled import make
from tests.data.tables.test_listing import names, touch

FILES = ["a.jpg", "b.jpg", "c.jpg"]


def table(folder, text: str, name: str = "list.csv", encoding: str = "utf-8") -> str:
    touch(folder, *FILES, "sub/d.jpg")
    (folder / name).write_text(text, encoding=encoding)
    return str(folder / name)


@pytest.mark.parametrize(
    "header",
    ["file_name", "filepath", "image_path", "img_path", "image_id", "Image Index", "FileName", "imgname", "where"],
)
def test_columns_of_files_are_known_by_their_names_or_by_the_files_below(tmp_path, header):
    found = list_data(table(tmp_path, f"{header},label\na.jpg,cat\nb.jpg,dog\n"), "train")
    assert (names(found, tmp_path), found.labels) == (["a.jpg", "b.jpg"], ["cat", "dog"])
    found = list_data(table(tmp_path, f"width,target,{header}\n7,cat,a.jpg\n8,dog,sub/d.jpg\n"), "train")
    assert (names(found, tmp_path), found.labels) == (["a.jpg", "sub/d.jpg"], ["cat", "dog"])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", ["file_name{}class{}note\n", ""])
def test_whatever_parts_the_columns(tmp_path, separator, header):
    rows = [["a.jpg", "cat", '"x, y"'], ["b.jpg", "dog", "z"]]
    text = "".join(separator.join(row[: 3 if header else 2]) + "\n" for row in rows)
    found = list_data(table(tmp_path, header.format(separator, separator) + text, "list.tsv"), "train")
    assert (names(found, tmp_path), found.labels) == (["a.jpg", "b.jpg"], ["cat", "dog"])


def test_ids_without_suffix_name_the_images_beside_the_list(tmp_path):
    found = list_data(table(tmp_path, "id_code,image_id,label\n1,a,cat\n2,sub/d,dog\n"), "train")
    assert (names(found, tmp_path), found.labels) == (["a.jpg", "sub/d.jpg"], ["cat", "dog"])
    touch(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"names 'a', which .*a\.jpg' and .*a\.png' may be; write its suffix"):
        list_data(str(tmp_path / "list.csv"), "train")


def test_excels_unicode_text_spaces_and_windows_paths_are_read(tmp_path):
    text = "file\tlabel\r\na.jpg\t cat\r\nsub\\d.jpg\tcat \r\n\t\r\n"
    found = list_data(table(tmp_path, text, encoding="utf-16"), "train")
    assert (names(found, tmp_path), found.labels) == (["a.jpg", "sub/d.jpg"], ["cat", "cat"])


def test_columns_of_0_and_1_are_classes(tmp_path):
    found = list_data(table(tmp_path, "image_id,rust,scab,healthy\na,0,1,0\nb,1.0,0,0\nc,0,0,1\n"), "train")
    assert found.labels == ["scab", "rust", "healthy"]


@pytest.mark.parametrize(
    "classes", [["black bear", "brown bear", "bear", "tench, Tinca tinca"], ["ripe fig", "green fig"]]
)
def test_classes_of_several_words_are_classes(tmp_path, classes):
    labels = [classes[row % len(classes)] for row in range(3)]
    text = "".join(f'{file},"{label}"\n' for file, label in zip(FILES, labels, strict=True))
    assert list_data(table(tmp_path, f"path,label\n{text}"), "train").labels == labels


@pytest.mark.parametrize(
    ("splits", "train", "test"),
    [
        (["train", "val", "test"], "a", "b"),
        (["test", "Train", "TEST"], "b", "ac"),
        (["training", "testing", "Training"], "ac", "b"),
        (["", "test", "other"], "ac", "b"),
        (["train", "train", ""], "ab", "ab"),
        (["train", "unlabeled", "val"], "a", "c"),
        (["0", "1", "2"], "abc", "abc"),
    ],
)
def test_a_column_of_splits_parts_a_table_as_folders_do(tmp_path, splits, train, test):
    text = "".join(f"{file},{place},{split}\n" for place, (file, split) in enumerate(zip(FILES, splits, strict=True)))
    data = table(tmp_path, f"path,label,split\n{text}")
    for split, wanted in (("train", train), ("test", test)):
        images = open_images(data, split)
        assert [images.short(row) for row in range(len(images))] == [f"{letter}.jpg" for letter in wanted]
        assert [images.classes[label] for label in images.labels] == [str("abc".index(letter)) for letter in wanted]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("path,split\na.jpg,x\nb.jpg,y\n", None),
        ("path,fold\na.jpg,0\nb.jpg,1\n", None),
        ("path,width\na.jpg,10\nb.jpg,20\n", None),
        ("path,cat,dog,is_valid\na.jpg,1,0,1\nb.jpg,0,1,0\n", ["cat", "dog"]),
        ("path,cat,dog,fold\na.jpg,1,0,7\nb.jpg,0,1,8\n", ["cat", "dog"]),
    ],
)
def test_what_says_no_class_is_no_label(tmp_path, text, labels):
    assert list_data(table(tmp_path, text), "train").labels == labels


def test_blank_lines_before_the_header_are_passed_over(tmp_path):
    assert list_data(table(tmp_path, "\n\npath,label\na.jpg,cat\n"), "train").labels == ["cat"]


@pytest.mark.parametrize(
    ("labels", "wanted", "classes"),
    [
        (["10.0", "2.0", "10.0"], [1, 0, 1], ["2", "10"]),
        (["1", "1.0", "0.0"], [1, 1, 0], ["0", "1"]),
        (["-1.0", "0.0", "0.0"], [0, 1, 1], ["-1", "0"]),
        (["1.0", "1.5", "2.0"], [0, 1, 2], ["1.0", "1.5", "2.0"]),
        (["none", "na", "cat"], [2, 1, 0], ["cat", "na", "none"]),
    ],
)
def test_whole_numbers_are_classes_however_they_are_written(tmp_path, labels, wanted, classes):
    text = "".join(f"{file},{label}\n" for file, label in zip(FILES, labels, strict=True))
    images = open_images(table(tmp_path, f"path,label\n{text}"))
    assert (images.labels, images.classes) == (wanted, classes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *[
            (f"path,label\na.jpg,cat\nb.jpg,{word}\nc.jpg,dog\n", rf"1 of 3 rows have no label, .*'b\.jpg' \({word}\)")
            for word in ("nan", "NaN", "None", "<NA>", "NULL", "N/A")
        ],
        (
            "path,label\na.jpg,cat\nb.jpg,\nc.jpg\n",
            "2 of 3 rows have no label, the first is 'b.jpg'; label them, or take",
        ),
        (
            "path,label\na.jpg,cat\na.jpg,dog\n",
            r"1 of 1 files have several labels, .*a\.jpg' \('cat' and 'dog'\); keep one",
        ),
        (
            "path,x,y\na.jpg,1,1\nb.jpg,1,0\n",
            r"1 of 2 rows have several labels, the first is 'a\.jpg' \(x, y\); keep one",
        ),
        ("path,x,z\na.jpg,0,1\nb.jpg,0,0\n", r"1 of 2 rows have no label, the first is 'b\.jpg'"),
        (
            "path,tags\na.jpg,cat\nb.jpg,cat dog\nc.jpg,dog\n",
            r"1 of 3 rows have several labels, .*'b\.jpg' \(cat dog\)",
        ),
        ("path,tags\na.jpg,cat|dog\nb.jpg,cat\n", "1 of 2 rows have several labels"),
        ("path,tags\na.jpg,\"['cat', 'dog']\"\nb.jpg,\"['cat']\"\n", "1 of 2 rows have several labels"),
        (
            "path,width,species\na.jpg,1,x\nb.jpg,2,y\n",
            "none of its columns 'width', 'species' is called label, class or",
        ),
        ("a.jpg,cat,dog\nb.jpg,cat,owl\n", "its rows have 3 columns and no header; write one above them"),
    ],
)
def test_why_labels_do_not_count_is_said_where_labels_are_wanted(tmp_path, text, why):
    data = table(tmp_path, text)
    images = open_images(data)
    assert images.labels is None and len(images) >= 2
    with pytest.raises(ValueError, match=rf"list\.csv' counts no labels: {why}"):
        open_labelled(data)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("path,label\na.jpg,cat\ngone.jpg,dog\n", "gone.jpg', which is no file; paths are relative to the list"),
        ("path,label\nd.jpg,cat\n", "d.jpg', which is no file; there is one in 'sub': move the list there"),
        ("path,label\na.jpg,cat\n,dog\n", "has a row without a file, ',dog'; fill it in, or take the row out"),
        ("gone.jpg,cat\na.jpg,dog\n", "gone.jpg', which is no file"),
        ("gone.jpg;cat\na.jpg;dog\n", "gone.jpg', which is no file"),
        (
            "a.jpg 65\nb.jpg 970\n",
            "a.jpg 65', which is no file; the name ends before: for labels behind names, make it",
        ),
    ],
)
def test_a_row_whose_file_is_not_there_is_refused(tmp_path, text, why):
    with pytest.raises(ValueError, match=why):
        list_data(table(tmp_path, text), "train")


def test_the_remedies_work(tmp_path):
    (tmp_path / "sub").mkdir()
    table(tmp_path, "path,label\nd.jpg,cat\n")
    (tmp_path / "list.csv").rename(tmp_path / "sub" / "list.csv")
    assert len(list_data(str(tmp_path / "sub" / "list.csv"), "train").names) == 1
    text = "path,tags\na.jpg,apple\nb.jpg,apple juice\nc.jpg,juice\n"
    assert list_data(table(tmp_path, text), "train").labels is None
    renamed = list_data(table(tmp_path, text.replace("apple juice", "apple_juice")), "train")
    assert renamed.labels == ["apple", "apple_juice", "juice"]


def test_images_outside_of_the_classes_folders_are_counted(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/2.png", "train/3.png", "val/a/4.png")
    with pytest.raises(
        ValueError, match=r"1 of 3 images lie in no folder of a class, the first is '3\.png'; move them"
    ):
        open_labelled(str(tmp_path))


def columns(folder, name: str = "list.parquet", **values) -> str:
    touch(folder, *FILES, "sub/d.jpg")
    parquet.write_table(pyarrow.table(values), folder / name, row_group_size=2)
    return str(folder / name)


def test_a_parquet_of_names_is_a_table(tmp_path):
    vector = pyarrow.array([[0.0]] * 3, pyarrow.list_(pyarrow.float32(), 1))
    found = list_data(columns(tmp_path, image_path=FILES, label=["cat", "dog", "cat"], embedding=vector), "train")
    assert (names(found, tmp_path), found.labels) == (FILES, ["cat", "dog", "cat"])
    found = list_data(columns(tmp_path, where=["sub/d.jpg", "a.jpg"], target=[4, 7], split=["train", "val"]), "train")
    assert (names(found, tmp_path), found.labels) == (["sub/d.jpg"], ["4"])
    words = pyarrow.array(["cat", "dog"]).dictionary_encode()
    found = list_data(columns(tmp_path, file=["a.jpg", "b.jpg"], label=words, width=[1.5, None]), "train")
    assert (names(found, tmp_path), found.labels) == (["a.jpg", "b.jpg"], ["cat", "dog"])
    assert column_of(tmp_path / "list.parquet", "train", "label") == ["cat", "dog"]


def test_a_parquet_of_images_or_of_nothing_is_no_table(tmp_path):
    images = [{"bytes": b"x", "path": "a.jpg"}]
    for values in ({"image": images}, {"file": ["a.jpg"], "jpg": [b"x"]}):
        with pytest.raises(ValueError, match=r"is read with its folder: give hf:"):
            list_data(columns(tmp_path, **values), "train")
    with pytest.raises(ValueError, match=r"has no column of files, only kind; call it path"):
        list_data(columns(tmp_path, kind=["cat"]), "train")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "list.parquet").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"is read with its folder: give hf:"):
        list_data(str(tmp_path / "torn.parquet"), "train")
