"""One scene as COCO files of the tools that people annotate with, each written by the tool itself.

    python benchmarks/coco_exports.py TOOL OUT      # TOOL: supervision, datumaro, label-studio-sdk, sahi, ...

Each tool needs an environment of its own, without pcae: `uv venv T; uv pip install --python T TOOL` (lvis needs
pycocotools, too). OUT gets the tool's files, dates and places taken out, and its version in versions.json. They stand
in tests/data/coco/exports; test_exports.py beside them says once more, by hand, what is in the scene.
"""

import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
NAMES = ["box", "ring", "pair", "triangle"]
INSTEAD = {
    "roboflow": "in place of the hosted export, which needs an account: ",
    "cvat": "in place of the server, which needs an account and exports by it: ",
    "lvis": "written by hand, since no tool writes it, and read by ",
}
"""What is not as its tool writes it."""
BOX = [4, 6, 24, 16]  # left, top, right and bottom; the last pixel is one before
TRIANGLE = [[10.0, 10.0], [40.0, 10.0], [10.0, 40.0]]


def masks() -> dict[str, np.ndarray]:
    """The objects of a.png by name, as pixels: a box, a ring with a hole, and a pair of squares."""
    found = {name: np.zeros((HEIGHT, WIDTH), bool) for name in NAMES[:3]}
    found["box"][6:16, 4:24] = True
    found["ring"][8:32, 30:54] = True
    found["ring"][16:24, 38:46] = False
    found["pair"][30:38, 4:12] = True
    found["pair"][30:38, 20:28] = True
    return found


def pictures(folder: Path) -> None:
    """a.png and b.png, gray."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(folder / f"{name}.png")


def corners(box: list[int]) -> list[list[float]]:
    """The polygon of a box."""
    left, top, right, bottom = map(float, box)
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def flat(corners: list[list[float]]) -> list[float]:
    """A polygon as COCO writes it."""
    return [value for corner in corners for value in corner]


def supervision(work: Path) -> dict[str, Path]:
    """Masks of all kinds; boxes alone in the folders that Roboflow's export has."""
    import supervision as sv

    pictures(work / "in")
    a, b = str(work / "in" / "a.png"), str(work / "in" / "b.png")
    seen = np.stack(list(masks().values()))
    boxes = np.array([BOX, [30, 8, 54, 32], [4, 30, 28, 38]], float)
    labels = np.arange(3)
    found = {}
    for name, given in (("supervision", seen), ("roboflow", None)):
        objects = {
            a: sv.Detections(xyxy=boxes, mask=given, class_id=labels),
            b: sv.Detections.empty(),
        }
        data = sv.DetectionDataset(classes=NAMES, images=[a, b], annotations=objects)
        found[name] = work / f"{name}.json"
        data.as_coco(annotations_path=str(found[name]))
    return found


def datumaro(work: Path) -> dict[str, Path]:
    """A box, a polygon and masks, as CVAT exports them; and the masks alone."""
    import datumaro as dm

    seen = masks()
    drawn = [dm.Mask(seen[name], label=NAMES.index(name)) for name in ("box", "ring", "pair")]
    mixed = [dm.Bbox(4, 6, 20, 10, label=0), *drawn[1:]]
    found = {}
    for name, objects in (("datumaro", drawn), ("cvat", mixed)):
        media = dm.Image.from_numpy(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        items = [
            dm.DatasetItem(id="a", subset="default", media=media, annotations=objects),
            dm.DatasetItem(id="b", subset="default", media=media, annotations=[dm.Polygon(flat(TRIANGLE), label=3)]),
        ]
        data = dm.Dataset.from_iterable(items, categories=NAMES)
        data.export(str(work / name), "coco_instances", save_media=True)
        found[name] = work / name / "annotations" / "instances_default.json"
    return found


def label_studio_sdk(work: Path) -> dict[str, Path]:
    """A rectangle and a polygon in pictures that were uploaded, and one picture without labels."""
    from label_studio_sdk.converter import Converter

    labels = "".join(f'<Label value="{name}"/>' for name in NAMES)
    config = (
        f'<View><Image name="image" value="$image"/><RectangleLabels name="r" toName="image">{labels}</RectangleLabels>'
        f'<PolygonLabels name="p" toName="image">{labels}</PolygonLabels></View>'
    )
    size = {"original_width": WIDTH, "original_height": HEIGHT, "to_name": "image"}
    share = {"x": 100 * 4 / WIDTH, "y": 100 * 6 / HEIGHT, "width": 100 * 20 / WIDTH, "height": 100 * 10 / HEIGHT}
    points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in TRIANGLE]
    given = {
        "a": {
            "type": "rectanglelabels",
            "from_name": "r",
            "value": share | {"rotation": 0, "rectanglelabels": ["box"]},
        },
        "b": {"type": "polygonlabels", "from_name": "p", "value": {"points": points, "polygonlabels": ["triangle"]}},
        "c": None,
    }
    tasks = [
        {
            "id": id,
            "data": {"image": f"/data/upload/1/{name}.png"},
            "annotations": [{"result": [one | size] if one else []}],
        }
        for id, (name, one) in enumerate(given.items(), 1)
    ]
    (work / "tasks.json").write_text(json.dumps(tasks))
    for name, some in (("label-studio-boxes", tasks[:1]), ("label-studio", tasks)):
        (work / f"{name}-tasks.json").write_text(json.dumps(some))
        converter = Converter(config, str(work), download_resources=False)
        converter.convert_to_coco(str(work / f"{name}-tasks.json"), str(work / name), is_dir=False)
    return {name: work / name / "result.json" for name in ("label-studio", "label-studio-boxes")}


def sahi(work: Path) -> dict[str, Path]:
    """The box, and the triangle cut into slices, of which some hold a sliver."""
    from sahi.slicing import slice_coco
    from sahi.utils.coco import Coco, CocoAnnotation, CocoCategory, CocoImage

    pictures(work / "in")
    coco = Coco()
    for id, name in enumerate(NAMES):
        coco.add_category(CocoCategory(id=id, name=name))
    a, b = (CocoImage(file_name=f"{name}.png", height=HEIGHT, width=WIDTH) for name in ("a", "b"))
    a.add_annotation(CocoAnnotation(segmentation=[flat(corners(BOX))], category_id=0, category_name="box"))
    b.add_annotation(CocoAnnotation(segmentation=[flat(TRIANGLE)], category_id=3, category_name="triangle"))
    sliver = [[4.0, 2.0], [30.0, 2.0], [30.0, 24.3], [29.7, 24.3]]  # a third of a pixel reaches below the cut
    b.add_annotation(CocoAnnotation(segmentation=[flat(sliver)], category_id=3, category_name="triangle"))
    for image in (a, b):
        coco.add_image(image)
    (work / "whole.json").write_text(json.dumps(coco.json))
    where = slice_coco(
        str(work / "whole.json"), str(work / "in"), "sahi", str(work / "out"), slice_height=24, slice_width=32,
        overlap_height_ratio=0, overlap_width_ratio=0, min_area_ratio=0.0,
    )[1]  # fmt: skip
    return {"sahi": Path(where)}


def labelme2coco(work: Path) -> dict[str, Path]:
    """A rectangle and a polygon drawn in labelme, converted from the folder above."""
    import labelme2coco

    folder = work / "pictures"
    pictures(folder)
    drawn = {
        "a": {"label": "box", "shape_type": "rectangle", "points": [BOX[:2], BOX[2:]]},
        "b": {"label": "triangle", "shape_type": "polygon", "points": TRIANGLE},
    }
    for name, shape in drawn.items():
        said = {"imagePath": f"{name}.png", "imageWidth": WIDTH, "imageHeight": HEIGHT, "shapes": [shape]}
        (folder / f"{name}.json").write_text(json.dumps(said))
    os.chdir(work)
    labelme2coco.convert("pictures", "out")
    return {"labelme2coco": work / "out" / "dataset.json"}


def fiftyone(work: Path) -> dict[str, Path]:
    """A box and masks, and boxes alone, by FiftyOne's own exporter; its data sets would need a MongoDB beside it."""
    from fiftyone.core import labels
    from fiftyone.core.metadata import ImageMetadata
    from fiftyone.utils.coco import COCODetectionDatasetExporter

    sides = {"box": BOX, "ring": [30, 8, 54, 32], "pair": [4, 30, 28, 38]}
    found = {}
    for name in ("fiftyone", "fiftyone-boxes"):
        objects = []
        for label, (left, top, right, bottom) in sides.items():
            box = [left / WIDTH, top / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT]
            mask = masks()[label][top:bottom, left:right] if name == "fiftyone" else None
            objects.append(labels.Detection(label=label, bounding_box=box, mask=mask))
        with COCODetectionDatasetExporter(export_dir=str(work / name), classes=NAMES, export_media=False) as exporter:
            for picture, some in (("a", objects), ("b", [])):
                size = ImageMetadata(width=WIDTH, height=HEIGHT, num_channels=3)
                exporter.export_sample(f"/data/{picture}.png", labels.Detections(detections=some), metadata=size)
        found[name] = work / name / "labels.json"
    return found


def lvis(work: Path) -> dict[str, Path]:
    """No tool writes LVIS's files: this one is written after their description, and lvis must be able to read it."""
    from lvis import LVIS

    square, triangle = flat(corners(BOX)), flat(TRIANGLE)
    url = "http://images.cocodataset.org/{}/00000000000{}.jpg"
    content = {
        "images": [
            {"id": n, "coco_url": url.format(part, n), "flickr_url": "", "height": HEIGHT, "width": WIDTH, "license": 1,
             "date_captured": "", "neg_category_ids": [2], "not_exhaustive_category_ids": []}
            for n, part in ((1, "train2017"), (2, "val2017"))
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4.0, 6.0, 20.0, 10.0], "area": 200.0,
             "segmentation": [square]},
            {"id": 2, "image_id": 2, "category_id": 4, "bbox": [10.0, 10.0, 30.0, 30.0], "area": 450.0,
             "segmentation": [triangle]},
        ],
        "categories": [
            {"id": id, "name": name, "synset": f"{name}.n.01", "synonyms": [name], "def": "", "frequency": "f",
             "image_count": 1, "instance_count": 1}
            for id, name in enumerate(NAMES, 1)
        ],
        "info": {}, "licenses": [],
    }  # fmt: skip
    (work / "lvis.json").write_text(json.dumps(content))
    read = LVIS(str(work / "lvis.json"))
    assert read.ann_to_mask(read.anns[1]).sum() == 200
    return {"lvis": work / "lvis.json"}


def main(tool: str, out: Path) -> None:
    """Write the tool's files and its version."""
    out.mkdir(parents=True, exist_ok=True)
    out = out.resolve()
    writers = (supervision, datumaro, label_studio_sdk, sahi, labelme2coco, fiftyone, lvis)
    writer = {one.__name__.replace("_", "-"): one for one in writers}[tool]
    with tempfile.TemporaryDirectory() as work:
        made = writer(Path(work))
        for name, path in made.items():
            content = json.loads(path.read_text())
            content.pop("info", None)
            for image in content["images"]:
                image.pop("date_captured", None)
            (out / f"{name}.json").write_text(json.dumps(content).replace(work, "/where/it/ran") + "\n")
    versions = out / "versions.json"
    known = json.loads(versions.read_text()) if versions.exists() else {}
    known |= {name: f"{INSTEAD.get(name, '')}{tool} {version(tool)}" for name in made}
    versions.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
