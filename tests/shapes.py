"""A folder of made-up shapes with annotations in COCO's format: object k of an image fills its colour channel k."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
from PIL import Image

HEIGHT, WIDTH = 90, 140


def shapes(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A disc, an L and a bar on three channels, none in the middle: (3, height, width) of 0 and 1."""
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height * 0.3) ** 2 + (columns - width * 0.2) ** 2 < (height * 0.17) ** 2
    tall = (rows > height * 0.1) & (rows < height * 0.8) & (columns > width * 0.5) & (columns < width * 0.6)
    foot = (rows > height * 0.6) & (rows < height * 0.8) & (columns > width * 0.5) & (columns < width * 0.9)
    bar = (rows > height * 0.85) & (columns < width * 0.4)
    return np.stack([disc, tall | foot, bar]).astype(np.uint8)


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    rle = pycocotools.mask.encode(np.asfortranarray(mask))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def annotation(id: int, image: int, category: int, mask: np.ndarray, **more: Any) -> dict[str, Any]:
    """An object with the box and the run lengths of its mask."""
    rle = rle_of(mask)
    bbox, area = pycocotools.mask.toBbox(rle).tolist(), int(mask.sum())
    found = {"id": id, "image_id": image, "category_id": category, "bbox": bbox, "segmentation": rle, "area": area}
    return found | {"iscrowd": 0} | more


def content(images: int = 3) -> dict[str, Any]:
    """Annotations of so many images, each with three shapes of the categories 7, 3 and 20."""
    masks = shapes()
    size = {"height": HEIGHT, "width": WIDTH}
    return {
        "images": [{"id": 10 + n, "file_name": f"{n}.png"} | size for n in range(images)],
        "categories": [{"id": id, "name": name} for id, name in ((7, "disc"), (3, "angle"), (20, "bar"))],
        "annotations": [
            annotation(1 + 3 * n + place, 10 + n, category, masks[place])
            for n in range(images)
            for place, category in enumerate((7, 3, 20))
        ],
    }


def make(folder: Path, content: dict[str, Any], name: str = "train") -> Path:
    """Write NAME.json and images/ with its pictures into a folder."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image in content["images"]:
        pixels = 255 * shapes(image["height"], image["width"]).transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / "images" / image["file_name"])
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder
