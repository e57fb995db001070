"""COCO-format annotations: what is read is what they say, and what is wrong with them is said in a line."""

import json
import re

import numpy as np
import pycocotools.mask
import pytest
import torch
from PIL import Image, ImageOps

from pcae.data.coco.annotations import open_coco
from pcae.data.coco.layout import find_coco
from pcae.data.coco.segmentations import boxes_of, run_lengths, to_mask, to_rles
from pcae.data.files.decode import Unreadable
from pcae.settings.reading import AnnotationConfig
from tests.shapes import HEIGHT, WIDTH, annotation, content, make, shapes


def test_objects_are_what_the_file_says(tmp_path):
    data = open_coco(str(make(tmp_path, content())))
    assert data.ids == [10, 11, 12] and data.images.classes == ["disc", "angle", "bar"]
    assert data.category_ids == [7, 3, 20] and data.labels.tolist() == [1, 2, 3] * 3
    masks = torch.stack([to_mask(rle) for rle in data.rles(1)])
    assert torch.equal(masks, torch.from_numpy(shapes()))
    assert torch.equal(data.read(1), torch.from_numpy(shapes() * 255))
    assert torch.equal(data.corners(1), boxes_of(masks).float())
    assert data.areas[data.rows(2)].tolist() == shapes().sum((1, 2)).tolist()
    assert data.notes == ("3 categories have ids from 3 to 20 with gaps; they are taken without",)


def test_polygons_and_run_lengths_give_one_mask(tmp_path):
    made = content(1)
    square = np.zeros((HEIGHT, WIDTH), np.uint8)
    square[20:50, 30:90] = 1
    polygons = [[30, 20, 60, 20, 60, 50, 30, 50], [60, 20, 90, 20, 90, 50, 60, 50]]  # two halves of one object
    runs = [30 * HEIGHT + 20, *[30, HEIGHT - 30] * 59, 30, HEIGHT - 50 + 50 * HEIGHT]
    assert sum(runs) == square.size
    made["annotations"] = [
        annotation(1, 10, 7, square),
        annotation(2, 10, 7, square, segmentation=polygons),
        annotation(3, 10, 7, square, segmentation={"size": [HEIGHT, WIDTH], "counts": runs}),
    ]
    data = open_coco(str(make(tmp_path, made)))
    assert all(np.array_equal(to_mask(rle).numpy(), square) for rle in data.rles(0))


def test_area_and_crowd_may_be_missing_and_a_file_may_have_boxes_only(tmp_path):
    made = content(1)
    for one in made["annotations"]:
        del one["area"], one["iscrowd"], one["id"]
    data = open_coco(str(make(tmp_path, made)))
    assert data.areas.tolist() == shapes().sum((1, 2)).tolist() and not data.crowds.any()
    for one in made["annotations"]:
        one["segmentation"] = []  # as Roboflow writes it
    data = open_coco(str(make(tmp_path, made)))
    assert data.areas.tolist() == [one["bbox"][2] * one["bbox"][3] for one in made["annotations"]]
    with pytest.raises(ValueError, match="have boxes only, no masks"):
        data.rles(0)


def test_images_without_objects_stay_unless_they_are_left_out(tmp_path):
    made = content(4)
    del made["annotations"][3:6]  # image 11 shows nothing
    for one in made["annotations"][3:6]:  # image 12 a crowd
        one["iscrowd"] = 1
    data = open_coco(str(make(tmp_path, made)))
    assert len(data) == 4 and data.corners(1).shape == (0, 4) and data.rles(1) == []
    assert "1 of 4 images have no annotations" in data.notes
    fewer = data.with_objects()
    assert fewer.ids == [10, 13] and fewer.images.names == [data.images.names[0], data.images.names[3]]
    assert torch.equal(fewer.corners(1), data.corners(3)) and fewer.rles(1) == data.rles(3)
    assert len(data.subset([])) == 0 and data.subset([2, 0]).ids == [12, 10]


def test_a_box_a_pixel_outside_is_cut_and_one_further_is_wrong(tmp_path):
    made = content(1)
    made["annotations"][0]["bbox"] = [-0.5, 3, WIDTH + 1, HEIGHT - 2]
    assert open_coco(str(make(tmp_path, made))).corners(0)[0].tolist() == [0, 3, WIDTH, HEIGHT]
    made["annotations"][0]["bbox"] = [0, 3, WIDTH + 1.5, 9]
    with pytest.raises(
        ValueError, match="annotation 1 of image 10 has a box that reaches out of its image of 140 x 90"
    ):
        open_coco(str(make(tmp_path, made)))


def test_one_wrong_annotation_of_very_many_is_left_out_and_reported(tmp_path):
    made = content(1)
    made["annotations"][1]["bbox"][3] = 0.0  # two of COCO's own 860,001 are so
    folder = str(make(tmp_path, made))
    data = open_coco(folder, config=AnnotationConfig(max_bad_annotations=0.4))
    assert data.labels.tolist() == [1, 3] and len(data.rles(0)) == 2
    assert data.notes[0].startswith("1 of 3 annotations are left out: annotation 2 of image 10 has a box of no area")
    with pytest.raises(ValueError, match="has a box of no area"):
        open_coco(folder, config=AnnotationConfig(max_bad_annotations=0.3))


def test_labels_follow_the_detector_whatever_the_order_of_a_file(tmp_path):
    made = content(1)
    data = open_coco(str(make(tmp_path, made))).labelled_as(["bar", "disc", "angle"])
    assert data.labels.tolist() == [2, 3, 1] and data.images.classes == ["bar", "disc", "angle"]
    assert [data.category_ids[label - 1] for label in data.labels] == [7, 3, 20]
    with pytest.raises(ValueError, match="3 categories and the detector 4 classes; 'cone' is in one of them alone"):
        data.labelled_as(["bar", "disc", "angle", "cone"])


def test_categories_of_one_name_are_told_apart(tmp_path):
    made = content(1)
    made["categories"].append({"id": 0, "name": "bar"})
    data = open_coco(str(make(tmp_path, made)))
    assert data.images.classes == ["disc", "angle", "bar (20)", "bar (0)"]
    assert "no object is of 1 of 4 categories, the first of which is 'bar (0)'" in data.notes


def change(made, key, place, **values):
    made[key][place] |= values


EMPTY = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
WRONG = {
    "annotation 4 of image 99 is of an image that is not among the images, and 1 more such; mend": lambda made: (
        change(made, "annotations", 3, image_id=99),
        change(made, "annotations", 5, image_id=98),
    ),
    "annotation 3 of image 10 is of the category 8, which is not among the categories; mend": lambda made: change(
        made, "annotations", 2, category_id=8
    ),
    "have no annotations; nothing": lambda made: made["annotations"].clear(),
    "have no categories; nothing": lambda made: made["categories"].clear(),
    "have no images; nothing": lambda made: made["images"].clear(),
    "are not as COCO has them: images: Field required": lambda made: made.pop("images"),
    "are not as COCO has them: annotations 2 bbox: List should have at least 4": lambda made: change(
        made, "annotations", 2, bbox=[1, 2, 3]
    ),
    "are not as COCO has them: annotations 2 bbox 3: Input should be a finite": lambda made: change(
        made, "annotations", 2, bbox=[1, 2, 3, float("nan")]
    ),
    "images 1 id int: Input should be a valid integer": lambda made: change(made, "images", 1, id=1.5),
    "images 1 height: Input should be greater than 0": lambda made: change(made, "images", 1, height=0),
    "the id 2 stands twice among the annotations; number": lambda made: change(made, "annotations", 0, id=2),
    "the id 11 stands twice among the images": lambda made: change(made, "images", 0, id=11),
    "the id 3 stands twice among the categories": lambda made: change(made, "categories", 0, id=3),
    "annotation 2 of image 10 has a box of no area, \\[1.0, 2.0, 5.0, 0.0\\], and 1 more such; mend": lambda made: (
        change(made, "annotations", 1, bbox=[1, 2, 5, 0]),
        change(made, "annotations", 2, bbox=[1, 2, -5, 5]),
    ),
    "boxes are no pixels but shares of the images' sides, .* has \\[0.1, 0.2, 0.5, 0.25\\]; multiply": lambda made: [
        one.update(bbox=[0.1, 0.2, 0.5, 0.25]) for one in made["annotations"]
    ],
    "reaches out of .*; all boxes fit as left, top, right and bottom: write width .*; or mend": lambda made: [
        one.update(bbox=[80, 50, 130, 85]) for one in made["annotations"]
    ],
    "annotation 2 of image 10 has a box that reaches out": lambda made: change(
        made, "annotations", 1, bbox=[500, 2, 5, 5]
    ),
    "annotation 2 of image 10 has a polygon that reaches to 1e\\+09, far outside its image": lambda made: change(
        made, "annotations", 1, segmentation=[[3, 3, 1e9, 3, 9, 9]]
    ),
    "annotation 2 of image 10 has a polygon of nothing": lambda made: change(
        made, "annotations", 1, segmentation=[[3, 3, 9, 3, 15, 3]]
    ),
    "annotation 2 of image 10 has a polygon of 4 numbers": lambda made: change(
        made, "annotations", 1, segmentation=[[1, 2, 3, 4], [5, 5]]
    ),
    "annotation 2 of image 10 has no segmentation of COCO's form \\(.* a valid number": lambda made: change(
        made, "annotations", 1, segmentation=[["1", "1", "9", "1", "9", "9"]]
    ),
    "annotation 2 of image 10 has no segmentation of COCO's form \\(.* a valid list, and 2 more": lambda made: change(
        made, "annotations", 1, segmentation=EMPTY | {"counts": [str(HEIGHT * WIDTH)]}
    ),
    "annotation 2 of image 10 has no segmentation of COCO's form \\(": lambda made: change(
        made, "annotations", 1, segmentation=[1, 1, 9, 1, 9, 9]
    ),
    "annotation 2 of image 10 has a mask of 5 x 4 pixels in an image of 140 x 90": lambda made: change(
        made, "annotations", 1, segmentation={"size": [4, 5], "counts": [10, 10]}
    ),
    "annotation 2 of image 10 has run lengths that do not fill the 140 x 90": lambda made: change(
        made, "annotations", 1, segmentation=EMPTY | {"counts": [5, 5]}
    ),
    "annotation 3 of image 10 has run lengths that do not fill": lambda made: change(
        made, "annotations", 2, segmentation=EMPTY | {"counts": "né"}
    ),
    "annotation 2 of image 10 has an empty mask": lambda made: change(made, "annotations", 1, segmentation=EMPTY),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_annotations_are_refused_in_one_line(tmp_path, message):
    made = content()
    folder = make(tmp_path, made)
    WRONG[message](made)
    (folder / "train.json").write_text(json.dumps(made))
    with pytest.raises(ValueError, match=message) as caught:
        open_coco(str(folder))
    assert "\n" not in str(caught.value) and "train.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "are an empty file"),
        ("{a", "are no JSON: Expecting property name"),
        ("\udcff", "are no JSON: 'utf-8' codec"),
        ("[" * 200_000, "are no JSON: "),
        ("[]", "are not as COCO has them: Input should be a dictionary"),
    ],
)
def test_a_file_that_is_empty_or_no_annotations(tmp_path, text, message):
    (tmp_path / "train.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=f"train.json' {message}") as caught:
        open_coco(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_missing_images_are_named_with_the_remedy(tmp_path):
    folder = make(tmp_path, content())
    (folder / "images" / "1.png").unlink()
    with pytest.raises(ValueError, match="name the image '1.png', which is not in '.*images'; .*--images DIR"):
        open_coco(str(folder))
    for image in (folder / "images").iterdir():
        image.unlink()
    with pytest.raises(ValueError, match="name the image '0.png' and 2 more of 3, which is not in"):
        open_coco(str(folder))


def test_an_image_of_another_size_than_its_annotations_is_unreadable(tmp_path):
    data = open_coco(str(make(tmp_path, content())))
    Image.new("RGB", (HEIGHT, WIDTH)).save(data.images.names[2])
    with pytest.raises(
        Unreadable, match="2.png' cannot be read: upright it has 90 x 140 pixels, and its annot.* 140 x 90"
    ):
        data.read(2)


@pytest.mark.parametrize(
    ("train", "test", "images"),
    [
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json", ("train2017", "val2017")),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json", ("train", "valid")),
        ("train.json", "val.json", ("images", "images")),
        ("train.json", "test.json", ("train", "test")),
        ("annotations/train.json", "annotations/validation.json", ("images/train", "images/validation")),
    ],
)
def test_folders_in_every_layout_are_read(tmp_path, train, test, images):
    for path, folder in zip((train, test), images, strict=True):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content(1)))
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / folder / "0.png")
    for split, path, folder in (("train", train, images[0]), ("test", test, images[1])):
        data = open_coco(str(tmp_path), split)
        assert data.annotations == str(tmp_path / path) and data.images.names == [str(tmp_path / folder / "0.png")]


def test_a_file_may_be_named_itself_and_its_images_may_be_elsewhere(tmp_path):
    folder = make(tmp_path / "data", content(1))
    (folder / "images").rename(tmp_path / "elsewhere")
    data = open_coco(str(folder / "train.json"), "test", str(tmp_path / "elsewhere"))
    assert data.images.names == [str(tmp_path / "elsewhere" / "0.png")]


def test_what_is_no_data_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for year in (2014, 2017):
        (tmp_path / "annotations" / f"instances_train{year}.json").write_text("{}")
    for data, split, images, message in (
        (tmp_path / "none", "train", None, "is neither a folder nor a .json file"),
        (tmp_path / "a.txt", "train", None, "is no .json file"),
        (tmp_path, "train", None, "has instances_train2014.json, instances_train2017.json for train; name"),
        (tmp_path, "test", None, "has no COCO annotations for test; a folder has annotations/instances_val\\*.json"),
        (tmp_path / "annotations" / "instances_train2014.json", "train", "nowhere", "images 'nowhere' is no folder"),
    ):
        with pytest.raises(ValueError, match=message):
            find_coco(str(data), split, images)


def test_run_lengths_are_those_of_pycocotools():
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(40, 300, 500, generator=generator)
    sides = torch.linspace(0.01, 0.999, 40)[:, None, None]
    for rle, mask in zip(to_rles(noise < sides), noise < sides, strict=True):
        runs = run_lengths(rle["counts"])
        flat = np.repeat(np.arange(len(runs)) % 2, runs)
        assert np.array_equal(flat, mask.numpy().ravel(order="F"))
        assert np.array_equal(pycocotools.mask.decode(rle), mask)
    assert run_lengths("0" * 5 + "P") == [] and to_rles(torch.zeros(0, 4, 5, dtype=torch.bool)) == []


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (HEIGHT, HEIGHT)])
def test_a_turned_photograph_is_read_upright_or_as_it_is_stored_where_the_annotations_are(
    tmp_path, orientation, suffix, size
):
    """Its boxes are for the upright picture, as most programs show it, unless the sides are those in the file alone."""
    made = content(1)
    for upright in (False, True):
        stored, exif = Image.fromarray(255 * shapes(*size).transpose(1, 2, 0)), Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "images" / f"0.{suffix}"
        path.parent.mkdir(exist_ok=True)
        stored.save(path, exif=exif, quality=100)
        with Image.open(path) as opened:
            turned = ImageOps.exif_transpose(opened)
            expected = opened if not upright and turned.size != opened.size else turned
            expected = torch.from_numpy(np.array(expected)).permute(2, 0, 1)
        made["images"][0] |= {"file_name": path.name, "height": expected.shape[1], "width": expected.shape[2]}
        made["annotations"] = [annotation(1, 10, 7, np.ones(expected.shape[1:], np.uint8))]
        (tmp_path / "train.json").write_text(json.dumps(made))
        assert torch.equal(open_coco(str(tmp_path)).read(0), expected)


def test_ids_may_be_words_and_a_number_is_the_same_as_its_word(tmp_path):
    made, plain = content(2), content(2)
    for image, name in zip(made["images"], ("first", "7"), strict=True):
        image["id"] = name
    for category in made["categories"]:
        category["id"] = f"class-{category['id']}"
    for one in made["annotations"]:
        one |= {"id": f"object-{one['id']}", "image_id": "first" if one["image_id"] == 10 else 7}
        one["category_id"] = f"class-{one['category_id']}"
    data, expected = open_coco(str(make(tmp_path / "a", made))), open_coco(str(make(tmp_path / "b", plain)))
    assert data.ids == ["first", "7"] and data.category_ids == ["class-7", "class-3", "class-20"]
    assert np.array_equal(data.labels, expected.labels) and np.array_equal(data.boxes, expected.boxes)
    assert np.array_equal(data.starts, expected.starts)
    made["images"][0]["id"] = 7
    with pytest.raises(ValueError, match="the id 7 stands twice among the images"):
        open_coco(str(make(tmp_path / "a", made)))


def test_null_is_no_crowd_and_no_size_is_read_off_the_picture(tmp_path):
    made = content(1)
    for one in made["annotations"]:
        one |= {"iscrowd": None, "area": None}
    make(tmp_path, made)
    made["images"][0] |= {"height": None, "width": None}
    (tmp_path / "train.json").write_text(json.dumps(made))
    data = open_coco(str(tmp_path))
    assert data.objects == 3 and data.size(0) == (HEIGHT, WIDTH)
    assert "1 of 1 images have no size in the file; it is read off the pictures" in data.notes


def test_boxes_that_are_not_around_their_masks_are_said(tmp_path):
    made = content(1)
    for one, left in zip(made["annotations"], (20, 21, 80), strict=True):
        one |= {"segmentation": [[20, 20, 60, 20, 60, 50, 20, 50]], "bbox": [left, 20, 40, 30]}
    notes = open_coco(str(make(tmp_path, made))).notes
    assert [note for note in notes if "apart" in note] == [
        "1 of 3 boxes lie apart from their masks (they share less than half of what both cover); the first is of "
        "annotation 3 of image 10"
    ]


@pytest.mark.parametrize("area", [0, -5, 0.0, None])
def test_an_area_that_is_none_is_that_of_the_mask(tmp_path, area):
    made = content(1)
    for one in made["annotations"]:
        one |= {"segmentation": [[20, 20, 60, 20, 60, 50, 20, 50]], "bbox": [20, 20, 40, 30], "area": area}
    assert open_coco(str(make(tmp_path, made))).areas.tolist() == [40.0 * 30] * 3


def test_a_mask_of_one_part_that_is_empty_is_none(tmp_path):
    made = content(1)
    for one in made["annotations"]:
        one["segmentation"] = [[]]
    assert "no object has a mask: boxes alone are taken" in open_coco(str(make(tmp_path, made))).notes


def test_a_point_or_line_beside_a_polygon_is_left_out(tmp_path):
    """pycocotools takes four numbers in the first place for a box."""
    made = content(1)
    square = [20, 20, 60, 20, 60, 50, 20, 50]
    for one, parts in zip(made["annotations"], ([[1, 2, 3, 4], square], [square, [1, 2]], [square]), strict=True):
        one |= {"segmentation": parts, "bbox": [20, 20, 40, 30]}
    data = open_coco(str(make(tmp_path, made)))
    masks = [to_mask(rle).numpy() for rle in data.rles(0)]
    assert all(np.array_equal(mask, masks[2]) for mask in masks) and masks[2].sum() == 40 * 30
    assert data.notes[0].startswith(
        "2 of 3 masks have parts of fewer than three corners, which are left out; the first"
    )


def test_a_box_that_is_missing_is_that_of_the_mask(tmp_path):
    made, expected = content(1), [one["bbox"] for one in content(1)["annotations"]]
    made["annotations"][0]["bbox"] = []
    del made["annotations"][1]["bbox"]
    made["annotations"][2]["bbox"] = None
    folder = str(make(tmp_path, made))
    for masks in ("auto", "never"):
        assert open_coco(folder, config=AnnotationConfig(masks=masks)).boxes.tolist() == expected


@pytest.mark.parametrize("masks", ["auto", "always", "never"])
def test_boxes_and_masks_as_they_are_asked_for(tmp_path, masks):
    config, made = AnnotationConfig(masks=masks), content(1)
    whole = open_coco(str(make(tmp_path, made)), config=config)
    assert (whole.segmentations is None) == (masks == "never") and whole.objects == 3
    made["annotations"][1]["segmentation"] = None
    folder = str(make(tmp_path, made))
    if masks == "always":
        with pytest.raises(
            ValueError, match="has no segmentation; mend .*, leave them out by .*annotations 0.3334, or take"
        ):
            open_coco(folder, config=config)
        config = AnnotationConfig(masks=masks, max_bad_annotations=0.3334)
    mixed = open_coco(folder, config=config)
    assert (mixed.segmentations is None) == (masks != "always") and mixed.objects == 3 - (masks == "always")
    for one in made["annotations"]:
        one["segmentation"] = []
    folder = str(make(tmp_path, made))
    if masks == "always":
        with pytest.raises(ValueError, match="have boxes only, no masks; without --masks always, boxes alone"):
            open_coco(folder, config=config)
    else:
        assert open_coco(folder, config=config).objects == 3


@pytest.mark.parametrize(("many", "wrong"), [(7, 3), (100, 29), (100, 7), (3, 2)])
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_remedy_against_wrong_annotations_works(tmp_path, many, wrong, kind):
    """What it says is followed to the letter: the share, and boxes alone where these are right."""
    made = content(1)
    made["annotations"] = [made["annotations"][0] | {"id": n} for n in range(many)]
    for one in made["annotations"][:wrong]:
        one |= {"bbox": [1, 1, 0, 5]} if kind == "box" else {"segmentation": [[3, 3, 9, 3, 15, 3]]}
    folder = str(make(tmp_path, made))
    with pytest.raises(ValueError, match=f"and {wrong - 1} more such; mend or remove them") as caught:
        open_coco(folder)
    share = re.search(r"--max-bad-annotations ([\d.]+)", str(caught.value))
    assert (
        share
        and open_coco(folder, config=AnnotationConfig(max_bad_annotations=float(share[1]))).objects == many - wrong
    )
    assert ("or take boxes alone by --masks never" in str(caught.value)) == (kind == "mask")
    if kind == "mask":
        assert open_coco(folder, config=AnnotationConfig(masks="never")).objects == many
