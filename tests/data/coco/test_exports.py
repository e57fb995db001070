"""Files that annotation tools wrote are read as what went into them: the right boxes, masks and counts.

They stand in exports/, written by benchmarks/coco_exports.py in each tool's own environment, with its version in
versions.json. Roboflow's hosted export and CVAT's server need an account; supervision, which is Roboflow's, and
datumaro, by which CVAT exports, wrote these two. Nobody writes LVIS's files but LVIS: this one was written by hand and
read by the package lvis. What went in stands here once more, by hand.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcae.data.coco.annotations import CocoImages, open_coco
from pcae.data.coco.segmentations import to_mask
from pcae.settings.reading import AnnotationConfig

EXPORTS = Path(__file__).parent / "exports"
WIDTH, HEIGHT = 64, 48
BOX, RING, PAIR, TRIANGLE = [4, 6, 20, 10], [30, 8, 24, 24], [4, 30, 24, 8], [10, 10, 30, 30]
THREE = {"a": [("box", BOX), ("ring", RING), ("pair", PAIR)]}
"""Boxes (left, top, width and height) by picture."""
TWO = {"a": [("box", BOX)], "b": [("triangle", TRIANGLE)]}
FOUR = THREE | {"b": [("triangle", TRIANGLE)]}
SLICES = {
    "a_0_0_0_32_24": [("box", BOX)],
    "b_1_0_0_32_24": [("triangle", [10, 10, 22, 14]), ("triangle", [4, 2, 26, 22])],
    "b_1_32_0_64_24": [("triangle", [0, 10, 8, 8])],
    "b_1_0_24_32_48": [("triangle", [10, 0, 16, 16])],
}
"""SAHI cuts the pictures into four of 32 x 24; the triangle's corners are at (10, 10), (40, 10) and (10, 40)."""
OBJECTS = {
    "cvat": FOUR, "datumaro": FOUR, "fiftyone": THREE, "fiftyone-boxes": THREE, "label-studio": TWO,
    "label-studio-boxes": {"a": [("box", BOX)]}, "labelme2coco": TWO,
    "lvis": {"000000000001": TWO["a"], "000000000002": TWO["b"]},
    "roboflow": THREE, "sahi": SLICES, "supervision": THREE,
}  # fmt: skip
BOXES_ALONE = {"cvat", "fiftyone-boxes", "label-studio", "label-studio-boxes", "labelme2coco", "roboflow"}


def drawn(name: str) -> np.ndarray:
    """An object of the scene as pixels."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if name == "triangle":
        rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        return (columns >= 10) & (rows >= 10) & (columns + rows <= 50)
    left, top, width, height = {"box": BOX, "ring": RING, "pair": PAIR}[name]
    mask[top : top + height, left : left + width] = True
    if name == "ring":
        mask[16:24, 38:46] = False
    if name == "pair":
        mask[:, 12:20] = False
    return mask


def opened(name: str, folder: Path, config: AnnotationConfig) -> CocoImages:
    """The export with pictures below a folder, as a user has them."""
    path = EXPORTS / f"{name}.json"
    for image in json.loads(path.read_text())["images"]:
        size = image["width"] or WIDTH, image["height"] or HEIGHT
        Image.new("RGB", size).save(folder / Path(image.get("file_name") or image["coco_url"]).name)
    return open_coco(str(path), images=str(folder), config=config)


def found(data: CocoImages) -> dict[str, list[tuple[str, list[float]]]]:
    """What was read, by picture."""
    objects = {
        Path(data.images.names[n]).stem: [
            (data.images.classes[label - 1], box)
            for label, box in zip(data.labels[data.rows(n)], data.boxes[data.rows(n)].tolist(), strict=True)
        ]
        for n in range(len(data))
    }
    return {name: some for name, some in objects.items() if some}


def test_every_export_is_tried():
    assert {path.stem for path in EXPORTS.glob("*.json")} == {*OBJECTS, "versions"}
    assert json.loads((EXPORTS / "versions.json").read_text()).keys() == OBJECTS.keys()


@pytest.mark.parametrize("name", OBJECTS)
def test_boxes_and_counts_are_those_that_went_in(tmp_path, name):
    data = opened(name, tmp_path, AnnotationConfig(crowds_as_objects=True))
    assert found(data) == OBJECTS[name]
    assert data.objects == sum(map(len, OBJECTS[name].values()))
    assert (data.segmentations is None) == (name in BOXES_ALONE)
    assert all(data.size(n) == np.array(Image.open(data.images.names[n])).shape[:2] for n in range(len(data)))


@pytest.mark.parametrize("name", ["supervision", "datumaro", "cvat"])
def test_masks_that_a_tool_calls_crowds_are_counted_and_taken_where_that_is_asked_for(tmp_path, name):
    crowds = {"supervision": 2, "datumaro": 3, "cvat": 2}[name]
    objects = sum(map(len, OBJECTS[name].values()))
    data = opened(name, tmp_path, AnnotationConfig())
    assert (data.objects, int(data.crowds.sum())) == (objects - crowds, crowds)
    (note,) = (note for note in data.notes if "iscrowd" in note)
    assert note.startswith(f"{crowds} of {objects} objects are crowds (iscrowd 1)") and "--crowds-as-objects" in note
    data = opened(name, tmp_path, AnnotationConfig(crowds_as_objects=True))
    assert data.objects == objects and not any("iscrowd" in note for note in data.notes)


def edges(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels that have another value within so many pixels around."""
    padded = np.pad(mask, width)
    shifts = [np.roll(padded, (y, x), (0, 1)) for y in range(-width, width + 1) for x in range(-width, width + 1)]
    return (np.any(shifts, 0) & ~np.all(shifts, 0))[width:-width, width:-width]


@pytest.mark.parametrize("name", ["datumaro", "supervision", "fiftyone", "lvis"])
def test_masks_are_those_that_went_in(tmp_path, name):
    """To the pixel where they are run lengths; polygons of these tools run a pixel inside or through its middle."""
    data = opened(name, tmp_path, AnnotationConfig(crowds_as_objects=True))
    content = json.loads((EXPORTS / f"{name}.json").read_text())
    given = iter(content["annotations"])
    for index in range(len(data)):
        for label, rle in zip(data.labels[data.rows(index)], data.rles(index), strict=True):
            mask, expected = to_mask(rle).numpy().astype(bool), drawn(data.images.classes[label - 1])
            if isinstance(next(given)["segmentation"], dict):
                assert np.array_equal(mask, expected)
            elif name == "fiftyone" and data.images.classes[label - 1] == "ring":  # its hole is a polygon that fills it
                expected[16:24, 38:46] = True
                assert not (mask ^ expected)[~edges(drawn("ring"), 1)].any()
            else:
                assert mask.any() and not (mask ^ expected)[~edges(expected, 1)].any()


def test_a_hole_that_is_written_as_a_polygon_is_filled_and_said(tmp_path):
    notes = opened("fiftyone", tmp_path, AnnotationConfig()).notes
    assert sum("have a polygon within another one" in note for note in notes) == 1
    assert any(note.startswith("1 of 3 masks have a polygon within") and "annotation 2 of" in note for note in notes)


def test_what_marks_nothing_is_left_out_and_counted(tmp_path):
    """SAHI writes an annotation without a box for a slice that the object's box reaches and the object does not."""
    notes = opened("sahi", tmp_path, AnnotationConfig()).notes
    assert "1 of 6 annotations have neither a box nor a mask and are left out" in notes


@pytest.mark.parametrize("name", ["cvat", "label-studio", "labelme2coco"])
def test_boxes_beside_masks_are_boxes_alone_unless_the_remedy_is_followed(tmp_path, name):
    (note,) = (note for note in opened(name, tmp_path, AnnotationConfig()).notes if "boxes alone" in note)
    bare, objects = 1, sum(map(len, OBJECTS[name].values()))
    assert note.startswith(f"{bare} of {objects} objects have a box and no mask: boxes alone are taken")
    assert f"--masks always --max-bad-annotations {bare / objects:g} leaves" in note
    config = AnnotationConfig(masks="always", max_bad_annotations=bare / objects, crowds_as_objects=True)
    data = opened(name, tmp_path, config)
    assert data.objects == objects - bare and data.segmentations is not None
    assert f"{bare} of {objects} annotations are left out: annotation" in data.notes[0]
    assert "has no segmentation" in data.notes[0]
