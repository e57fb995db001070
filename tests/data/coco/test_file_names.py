"""Names of images in annotations lead below the images' folder, by their last parts if need be, and never out of it."""

import json
from pathlib import Path

import pytest

from pcae.data.coco.annotations import CocoImages, open_coco
from tests.shapes import content, make

NAMES = {
    "Label Studio's": "/data/upload/1/0.png",
    "Label Studio's local files": "/data/local-files/?d=pictures/0.png",
    "where a tool ran": "../../runs/pictures/0.png",
    "a folder back": "images/../0.png",
    "Windows": "C:\\pictures\\0.png",
    "Windows, relative": "pictures\\0.png",
    "an address": "http://images.cocodataset.org/train2017/0.png",
    "an address with a key": "https://store/pictures/0.png?key=1",
    "a folder that is there": "deep/below/0.png",
}


def renamed(tmp_path: Path, *names: str | None, **more: str) -> Path:
    """Annotations of 0.png, 1.png, ... in tmp_path/images, which call them otherwise; the file lies elsewhere."""
    made = content(max(1, len(names)))
    make(tmp_path, made)
    for image, name in zip(made["images"], names, strict=False):
        image.pop("file_name")
        image |= ({} if name is None else {"file_name": name}) | more
    (tmp_path / "elsewhere" / "annotations").mkdir(parents=True)
    path = tmp_path / "elsewhere" / "annotations" / "all.json"
    path.write_text(json.dumps(made))
    return path


@pytest.mark.parametrize("kind", NAMES)
def test_the_last_parts_of_a_name_are_enough_below_the_folder_that_was_given(tmp_path, kind):
    path, images = renamed(tmp_path, NAMES[kind]), tmp_path / "images"
    with pytest.raises(
        ValueError, match=r"which is not in .*; give the folder by --images DIR, in which the last parts"
    ):
        open_coco(str(path))
    data = open_coco(str(path), images=str(images))
    assert data.images.names == [str(images / "0.png")]
    assert data.notes[0].startswith("1 of 1 images are found by the last parts of their names: '")


def test_as_many_of_the_last_parts_as_are_there_decide(tmp_path):
    path, images = renamed(tmp_path, "/data/a/0.png", "/data/b/0.png"), tmp_path / "images"
    for part in "ab":
        (images / part).mkdir()
        (images / part / "0.png").write_bytes((images / "0.png").read_bytes())
    assert open_coco(str(path), images=str(images)).images.names == [str(images / part / "0.png") for part in "ab"]
    (images / "b" / "0.png").unlink()
    (images / "a" / "0.png").unlink()
    with pytest.raises(
        ValueError, match=r"'/data/a/0.png' is taken for '.*images/0.png', as another name is"
    ) as caught:
        open_coco(str(path), images=str(images))
    assert "and 1 more such; give by --images DIR the folder in which all of them are different files" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "name", ["{}/secret.png", "../../secret.png", "../annotations/../../secret.png", "file://{}/secret.png"]
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    """Not where the folder is found, and not where it was given: there is no such file in it."""
    path = renamed(tmp_path, name.format(tmp_path))
    (tmp_path / "secret.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    for images in (None, str(tmp_path / "images")):
        with pytest.raises(ValueError, match=r"name the image '.*secret.png', which is not in ") as caught:
            open_coco(str(path), images=images)
        assert "\n" not in str(caught.value) and "--images DIR" in str(caught.value)
    (tmp_path / "images" / "secret.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    data = open_coco(str(path), images=str(tmp_path / "images"))
    assert data.images.names == [str(tmp_path / "images" / "secret.png")]


@pytest.mark.parametrize("name", ["", "..", "/", ".", "a" * 5000 + ".png", "nul\0.png", "images"])
def test_names_of_no_file_are_refused_in_one_line(tmp_path, name):
    path = renamed(tmp_path, name)
    for images in (None, str(tmp_path / "images")):
        with pytest.raises(ValueError, match="name the image|has neither file_name nor coco_url") as caught:
            assert open_coco(str(path), images=images).images.names == []
        assert "\n" not in str(caught.value)


def test_lvis_has_addresses_alone(tmp_path):
    path = renamed(tmp_path, None, coco_url="http://images.cocodataset.org/val2017/0.png")
    assert open_coco(str(path), images=str(tmp_path / "images")).images.names == [str(tmp_path / "images" / "0.png")]
    (tmp_path / "images").rename(tmp_path / "elsewhere" / "val2017")  # beside annotations/, as COCO's own
    assert open_coco(str(path)).images.names == [str(tmp_path / "elsewhere" / "val2017" / "0.png")]


def test_two_images_of_one_name_are_said(tmp_path):
    path = renamed(tmp_path, "0.png", "0.png")
    assert "1 of 2 images name a file that another one names, too" in opened(path).notes


def opened(path: Path) -> CocoImages:
    return open_coco(str(path), images=str(path.parents[2] / "images"))


def test_the_folder_that_fiftyone_writes_is_found(tmp_path):
    path = renamed(tmp_path, "0.png")
    (tmp_path / "images").rename(path.parent / "data")
    assert open_coco(str(path)).images.names == [str(path.parent / "data" / "0.png")]
