"""Training and held-out images have one numbering of classes, whatever the held-out ones lack."""

from pathlib import Path

import pytest
from PIL import Image

from pcae.data.tables.labelled import open_labelled


def make(root: Path, *names: str) -> str:
    """A folder of small pictures at these places."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((9, 9), 60).convert("RGB").save(root / name)
    return str(root)


def labels_by_name(images) -> dict[str, int]:
    return {Path(name).name: label for name, label in zip(images.names, images.labels, strict=True)}


def test_splits_of_a_folder(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.png", "val/a/4.png", "val/b/5.png", "val/c/6.png")
    train, held_out = open_labelled(str(tmp_path))
    assert labels_by_name(train) == {"1.png": 0, "2.png": 1, "3.png": 2}
    assert labels_by_name(held_out) == {"4.png": 0, "5.png": 1, "6.png": 2}
    assert list(train.classes) == list(held_out.classes) == ["a", "b", "c"]


def test_held_out_images_may_lack_classes_and_are_told_by_name(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.png", "val/c/4.png")
    train, held_out = open_labelled(str(tmp_path))
    assert labels_by_name(held_out) == {"4.png": 2} and list(held_out.classes) == list(train.classes)


def test_validation_is_another_folder_or_a_list(tmp_path):
    data = make(tmp_path / "data", "a/1.png", "b/2.png", "c/3.png")
    other = make(tmp_path / "other", "b/4.png", "c/5.png")
    (tmp_path / "list.csv").write_text("path,label\nother/c/5.png,c\nother/b/4.png,b\n")
    for validation, expected in ((other, ["4.png", "5.png"]), (str(tmp_path / "list.csv"), ["5.png", "4.png"])):
        train, held_out = open_labelled(data, validation=validation)
        assert len(train) == 3 and [Path(name).name for name in held_out.names] == expected
        assert labels_by_name(held_out) == {"4.png": 1, "5.png": 2}


def test_both_are_read_with_the_same_channels(tmp_path):
    _, held_out = open_labelled("sample", validation=make(tmp_path, "Trouser/1.png", "Bag/2.png"))
    assert held_out.channels == 1 and labels_by_name(held_out) == {"1.png": 1, "2.png": 8}
    assert [images.channels for images in open_labelled("sample", channels=3)] == [3, 3]


def refused(*names: str, validation: tuple[str, ...] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return names, validation


@pytest.mark.parametrize(
    ("names", "validation", "message"),
    [
        (*refused("1.png", "2.png"), "has no labels; use a folder with train/CLASS"),
        (*refused("a/1.png", "b/2.png"), "has no held-out images; use a folder with"),
        (*refused("a/1.png", "b/2.png", validation=("3.png",)), "other' has no labels"),
        (*refused("train/a/1.png", "val/a/2.png"), "has one class only, 'a'"),
        (*refused("train/a/1.png", "train/b/2.png", "val/c/3.png", "val/a/4.png"), "no training image has: 'c'; name"),
        (
            *refused("a/1.png", "b/2.png", validation=("v/1.png", "w/1.png", "x/1.png", "y/1.png", "z/1.png")),
            "no training image has: 'v', 'w', 'x' and 2 more; name",
        ),
    ],
)
def test_what_cannot_be_held_against_one_another(tmp_path, names, validation, message):
    data = make(tmp_path / "data", *names)
    other = make(tmp_path / "other", *validation) if validation else None
    with pytest.raises(ValueError, match=message):
        open_labelled(data, validation=other)
