"""Held-out images by class, by group, by names and seed alone."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pcae.data.images import Images, open_images
from pcae.data.tables.split_off import held_out_rows, open_split, with_names
from pcae.settings.labels import SplitConfig
from tests.data.tables.test_labelled import make
from tests.data.tables.test_listing import touch

LABELS = [0] * 40 + [1] * 11 + [2] * 2 + [3]


def images(labels=LABELS, root: str = "/data") -> Images:
    names = [f"{root}/{place:03d}.png" for place in range(len(labels))]
    return Images(names, names, labels, ["a", "b", "c", "d"], 3, root)


def held(some: Images, *options) -> set[str]:
    return {some.short(row) for row in held_out_rows(some, *options)}


def test_every_class_gives_its_share_and_keeps_some():
    counts = Counter(LABELS[row] for row in held_out_rows(images(), 0.2, 0))
    assert counts == {0: 8, 1: 2, 2: 1}  # of one image, none


def test_the_order_and_the_place_of_the_images_do_not_matter_and_the_seed_does():
    expected = held(images(), 0.2, 0)
    order = np.random.default_rng(0).permutation(len(LABELS)).tolist()
    moved = images(root="/elsewhere")
    mixed = replace(moved, names=[moved.names[row] for row in order], labels=[LABELS[row] for row in order])
    assert held(mixed, 0.2, 0) == expected != held(images(), 0.2, 1)


def test_more_images_of_one_class_leave_the_others_where_they_are():
    more = held(images([*LABELS, *[0] * 40]), 0.2, 0)
    kept = {name for name in held(images(), 0.2, 0) if LABELS[int(name[:3])]}
    assert {name for name in more if int(name[:3]) < len(LABELS) and LABELS[int(name[:3])]} == kept


def test_groups_and_copies_stay_together():
    groups = [f"p{place // 4}" for place in range(len(LABELS))]
    rows = held_out_rows(images(), 0.25, 3, groups)
    inside = {groups[row] for row in rows}
    assert inside.isdisjoint({groups[row] for row in range(len(LABELS))} - inside) and len(rows) == sum(
        group in inside for group in groups
    )
    assert 0.15 < len(rows) / len(LABELS) < 0.35
    twice = images([0] * 20)
    twice = replace(twice, names=[*twice.names[:10], *twice.names[:10]])
    rows = held_out_rows(twice, 0.3, 0)
    assert {row % 10 for row in rows if row < 10} == {row % 10 for row in rows if row >= 10} and len(rows) == 6


def test_images_of_several_classes_are_drawn_together():
    some = replace(images(), labels=None, label_sets=[()] * len(LABELS))
    assert len(held_out_rows(some, 0.5, 0)) == 27


CSV = "path,label,patient\n" + "".join(f"{place}.jpg,{'ab'[place % 2]},p{place // 4}\n" for place in range(24))


@pytest.fixture
def table(tmp_path) -> str:
    touch(tmp_path, *(f"{place}.jpg" for place in range(24)))
    (tmp_path / "list.csv").write_text(CSV)
    return str(tmp_path / "list.csv")


def test_a_table_is_split_by_a_column(table):
    train, test = open_split(table, SplitConfig(val_fraction=0.25, group_column="Patient"), 0)
    sides = [{int(some.short(row)[:-4]) // 4 for row in range(len(some))} for some in (train, test)]
    assert sides[0].isdisjoint(sides[1]) and len(train) + len(test) == 24 and len(test) in {4, 8}
    assert train.classes == test.classes == ["a", "b"] and set(test.labels or ()) == {0, 1}


@pytest.mark.parametrize(
    ("labels", "text", "message"),
    [
        ({"group_column": "person"}, CSV, "has no column 'person'; its columns are 'path', 'label', 'patient'"),
        ({"group_column": "patient"}, CSV.replace("p3", "", 1), "has no patient of '12.jpg'; fill it in"),
        ({"group_column": "patient"}, CSV.replace("p1", "p0"), None),
        ({"group_column": "label"}, CSV, "leaves no held-out images"),
        ({}, "path,label\n0.jpg,a\n1.jpg,a\n", "one class only, 'a'"),
        ({}, "path,label\n0.jpg,a\n1.jpg,b\n", "leaves no held-out images"),
        ({"multi_label": True}, "path,labels\n0.jpg,a|b\n1.jpg,\n", "images with labels; give more"),
        ({}, "path\n0.jpg\n", "has no labels"),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_remedy(tmp_path, table, labels, text, message):
    (tmp_path / "list.csv").write_text(text)
    labels, several = dict(labels), {"multi_label": "multi_label" in labels}
    labels.pop("multi_label", None)
    config = SplitConfig(val_fraction=0.25, **labels)
    if message is None:
        assert len(open_split(table, config, 0, **several)[1])
        return
    with pytest.raises(ValueError, match=message):
        open_split(table, config, 0, **several)


def test_a_class_that_is_held_out_with_its_group_is_refused(tmp_path, table):
    """Class b is in one of two groups, of which one is held out."""
    rows = [f"{place}.jpg,{'b' if place == 0 else 'a'},p{place // 4}" for place in range(8)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,patient", *rows]))
    found = set()
    for seed in range(8):
        try:
            train, _ = open_split(table, SplitConfig(val_fraction=0.5, group_column="patient"), seed)
            found.add(set(train.labels or ()) == {0, 1})
        except ValueError as error:
            found.add(str(error).split(";")[0])
    assert found == {True, "all images of the class 'b' are in groups that are held out"}


def test_data_with_held_out_images_and_groups_of_folders_are_refused(tmp_path):
    make(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/dog/3.png")
    with pytest.raises(ValueError, match="held-out images of its own, 1 of them; leave --val-fraction out"):
        open_split(str(tmp_path), SplitConfig(val_fraction=0.25), 0)
    with pytest.raises(ValueError, match=r"is a column of a table \(.csv, .tsv, .parquet\), which .*train.* is not"):
        open_split(str(tmp_path / "train"), SplitConfig(val_fraction=0.25, group_column="patient"), 0)


def test_a_file_of_names_chooses_images(tmp_path, table):
    some = open_images(table)
    (tmp_path / "names.txt").write_text("3.jpg\r\n11.jpg\n")
    chosen = with_names(some, tmp_path / "names.txt", table)
    assert [chosen.short(row) for row in range(len(chosen))] == ["3.jpg", "11.jpg"]
    (tmp_path / "names.txt").write_text("3.jpg\nother.jpg\n")
    with pytest.raises(ValueError, match=r"names 'other.jpg', which data .* has not; give the validation.txt"):
        with_names(some, tmp_path / "names.txt", table)
