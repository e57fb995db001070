"""Tables of several labels an image, as people write them; what is not plain is refused, and one label stays one."""

import pytest

from pcae.data.images import open_images
from pcae.data.tables.labelled import open_labelled
from pcae.data.tables.several_labels import counts_of, targets_of, with_label_sets
from tests.data.tables.test_labelled import make
from tests.data.tables.test_listing import touch

FILES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def table(folder, text: str) -> str:
    touch(folder, *FILES)
    (folder / "list.csv").write_text(text)
    return str(folder / "list.csv")


def sets(data: str) -> list[tuple[str, ...]]:
    images = with_label_sets(open_images(data), data)
    assert images.labels is None and images.label_sets is not None
    return [tuple(images.classes[place] for place in some) for some in images.label_sets]


LABELS = [("cat", "dog"), ("dog",), (), ("bird", "cat")]


@pytest.mark.parametrize(
    "text",
    [
        "path,labels\na.jpg,dog|cat\nb.jpg,dog\nc.jpg,\nd.jpg,cat|bird\n",
        "file_name,tags\na.jpg,cat ; dog\nb.jpg,dog;\nc.jpg,nan\nd.jpg,bird;cat;bird\n",
        "a.jpg,cat|dog\nb.jpg,dog\nc.jpg,\nd.jpg,bird|cat\n",
        'path,label\na.jpg,"[\'cat\', \'dog\']"\nb.jpg,"[""dog""]"\nc.jpg,[]\nd.jpg,"[\'bird\', \'cat\']"\n',
        "path,bird,cat,dog\na.jpg,0,1,1\nb.jpg,0,0,1\nc.jpg,0,0,0\nd.jpg,1,1,0\n",
        "path,patient,cat,dog,bird,age\na.jpg,p1,1,1.0,0,7\nb.jpg,p1,0,1,0,7\nc.jpg,p2,0,0,,6\nd.jpg,p3,1,0,1,9\n",
    ],
    ids=["bars", "semicolons", "no header", "lists", "one-hot", "one-hot beside others"],
)
def test_labels_are_read(tmp_path, text):
    assert sets(table(tmp_path, text)) == LABELS


def test_a_column_that_is_no_class_is_named(tmp_path):
    data = table(tmp_path, "path,patient,cat,dog\na.jpg,p1,1,1\nb.jpg,p1,0,1\nc.jpg,p2,0,0\nd.jpg,p3,1,0\n")
    images = open_images(data)
    assert images.said and "'patient'" in images.said.remark and images.labels is None


def test_targets_are_rows_of_0_and_1_and_counts_have_both_sides(tmp_path):
    data = table(tmp_path, "path,labels\na.jpg,dog|cat\nb.jpg,dog\nc.jpg,\nd.jpg,10|cat\n")
    images = with_label_sets(open_images(data), data)
    assert images.classes == ["10", "cat", "dog"]
    assert targets_of(images).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]
    assert counts_of(images).tolist() == [[1, 2, 2], [3, 2, 2]]
    less = images.without([0, 2])
    assert targets_of(less).tolist() == [[0, 0, 1], [1, 1, 0]]


def test_a_label_for_each_image_is_a_set_of_one(tmp_path):
    make(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/dog/3.png")
    train, held_out = open_labelled(str(tmp_path), multi_label=True)
    assert (train.label_sets, held_out.label_sets, held_out.classes) == ([(0,), (1,)], [(1,)], ["cat", "dog"])


def test_what_is_written_as_several_may_be_one(tmp_path):
    assert sets(table(tmp_path, "path,labels\na.jpg,cat;\nb.jpg,dog\nc.jpg,['cat']\nd.jpg,dog\n")) == [
        ("cat",), ("dog",), ("cat",), ("dog",),
    ]  # fmt: skip
    assert open_images(table(tmp_path, "path,labels\na.jpg,cat\nb.jpg,dog\n")).said is None


def test_without_the_flag_several_labels_are_refused_as_before(tmp_path):
    data = table(tmp_path, "path,labels\na.jpg,dog|cat\nb.jpg,dog\nc.jpg,cat\nd.jpg,bird|cat\n")
    with pytest.raises(ValueError, match="2 of 4 rows have several labels, the first is 'a.jpg'"):
        open_labelled(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,labels\na.jpg,cat\nb.jpg,dog\nc.jpg,cat dog\nd.jpg,dog\n",
            r"'cat dog' of 'c.jpg' looks like several .*write \|",
        ),
        ("path,labels\na.jpg,\nb.jpg,\nc.jpg,\nd.jpg,\n", "has no image with a label"),
        ("path\na.jpg\nb.jpg\n", "has no labels; a .csv of path,labels"),
        ("path,labels\na.jpg,cat\na.jpg,dog\nb.jpg,dog\n", "'a.jpg'|a.jpg.*keep one row of each"),
        ('path,label\na.jpg,"[1, 0]"\nb.jpg,"[0, 1]"\n', "lists of 0 and 1, the first is 'a.jpg'; give the names"),
    ],
    ids=["words", "none", "no column", "two rows", "marks"],
)
def test_what_is_not_plain_is_refused(tmp_path, text, message):
    data = table(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        with_label_sets(open_images(data), data)


def test_unknown_classes_are_named(tmp_path):
    data = table(tmp_path, "path,labels\na.jpg,cat|wolf\nb.jpg,dog\n")
    with pytest.raises(ValueError, match="not among the 2 known ones: 'wolf'; name the classes alike"):
        with_label_sets(open_images(data), data, ["cat", "dog"])


def test_several_sources_have_the_classes_of_all(tmp_path):
    for name, text in (("one", "a.jpg,cat|dog\nb.jpg,\n"), ("two", "a.jpg,bird;cat\n")):
        (tmp_path / name).mkdir()
        table(tmp_path / name, f"path,labels\n{text}")
    data = tuple(str(tmp_path / name / "list.csv") for name in ("one", "two"))
    images = with_label_sets(open_images(data), data)
    assert images.classes == ["bird", "cat", "dog"] and images.label_sets == [(1, 2), (), (0, 1)]


def test_rows_of_hugging_face_have_names_or_numbers(tmp_path):
    datasets = pytest.importorskip("datasets")
    touch(tmp_path, *FILES)
    kinds = {"image": datasets.Image(), "labels": datasets.Sequence(datasets.ClassLabel(names=["cat", "wolf", "dog"]))}
    rows = {"image": [str(tmp_path / name) for name in FILES], "labels": [[0, 2], [2], [], [1]]}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(str(tmp_path / "saved"))
    data = f"hf:{tmp_path / 'saved'}"
    images = with_label_sets(open_images(data), data)
    assert images.classes == ["cat", "wolf", "dog"] and images.label_sets == [(0, 2), (2,), (), (1,)]
