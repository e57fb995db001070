"""A small COCO-format set from real pictures: photographed things with exact masks, pasted on photographs.

    python benchmarks/small_coco.py OUT [--images 64] [--seed 0] [--size 240 320] [--categories 5] [--scales 0.15 0.7]

The things are stamps of Debian's package tuxpaint-stamps-default (apt install tuxpaint-stamps-default), the photographs
those of scikit-image and scikit-learn; both are the same in all pictures, in other places. Each picture has one to six
things, whose longer side is between 0.15 and 0.7 of the picture's shorter one (--scales), the later ones over the
earlier ones; a mask is what is seen of a thing, and what is hardly seen is left out. OUT gets images/, train.json and
val.json (a quarter of the pictures), the same bytes for the same arguments. Masks are run lengths, which are exact;
--polygons writes their outlines instead, in which holes are filled.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from skimage import data, measure
from sklearn.datasets import load_sample_images

from pcae.data.coco.segmentations import boxes_of, to_rles

STAMPS = Path("/usr/share/tuxpaint/stamps")
FOLDERS = {
    "fruit": "food/fruit",
    "bird": "animals/birds",
    "mammal": "animals/mammals",
    "flower": "plants/flowers",
    "vehicle": "vehicles",
    "insect": "animals/insects",
}
"""Where the stamps of each category lie."""
DRAWN = {"cartoon", "toys", "plastic", "hedgehog", "sedan_police", "7spoke256", "wheel_tractor"}
"""Folders and stamps that are no photographs of a thing of their category."""
SEEN = 40
"""Pixels of a thing that must be seen, else it is left out."""


class Thing(NamedTuple):
    """A cut-out: its category's place, and its picture with alpha."""

    category: int
    picture: Image.Image


def stamps(categories: int) -> list[list[Image.Image]]:
    """The photographs with alpha of each category, the empty margin cut off. Stops where they are not installed."""
    if not STAMPS.is_dir():
        raise SystemExit(f"{STAMPS} is not there; apt install tuxpaint-stamps-default")
    found = []
    for folder in list(FOLDERS.values())[:categories]:
        paths = (path for path in sorted((STAMPS / folder).rglob("*.png")) if not DRAWN & {*path.parts, path.stem})
        pictures = (Image.open(path) for path in paths)
        cut_out = [one.convert("RGBA") for one in pictures if one.has_transparency_data and one.mode != "LA"]
        found.append(
            [one.crop(one.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox()) for one in cut_out]
        )
    return found


def photographs() -> list[Image.Image]:
    """Photographs to paste on, without animals and flowers in them."""
    arrays = [data.coffee(), data.rocket(), data.hubble_deep_field(), data.retina(), data.immunohistochemistry()]
    grounds = [data.gravel(), data.grass(), data.brick(), load_sample_images().images[0]]
    return [Image.fromarray(pixels).convert("RGB") for pixels in [*arrays, *grounds]]


def background(photograph: Image.Image, size: tuple[int, int], numbers: np.random.Generator) -> Image.Image:
    """A part of a photograph, of the sides' ratio of `size` (height, width), resized to it."""
    fit = min(photograph.width / size[1], photograph.height / size[0]) * numbers.uniform(0.6, 1)
    width, height = fit * size[1], fit * size[0]
    left, top = numbers.uniform(0, photograph.width - width), numbers.uniform(0, photograph.height - height)
    return photograph.resize(size[::-1], Image.Resampling.BICUBIC, (left, top, left + width, top + height))


def resized(thing: Thing, shortest: int, scales: list[float], numbers: np.random.Generator) -> Thing:
    """A thing at a random share of the shortest side, each doubling as likely as the next; half of them mirrored."""
    scale = shortest * np.exp(numbers.uniform(*np.log(scales))) / max(thing.picture.size)
    sides = [max(1, round(side * scale)) for side in thing.picture.size]
    picture = thing.picture.resize(sides, Image.Resampling.LANCZOS)
    return thing._replace(
        picture=picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if numbers.random() < 0.5 else picture
    )


def paste(canvas: Image.Image, thing: Thing, numbers: np.random.Generator) -> np.ndarray:
    """Paste a thing somewhere, a part of it perhaps beyond the edge; where it covers at least half of a pixel."""
    reach = [round(side * 0.3) for side in thing.picture.size]
    place = [
        int(numbers.integers(-beyond, room - side + beyond + 1))
        for room, side, beyond in zip(canvas.size, thing.picture.size, reach, strict=True)
    ]
    canvas.paste(thing.picture, (place[0], place[1]), thing.picture)
    alpha = Image.new("L", canvas.size)
    alpha.paste(thing.picture.getchannel("A"), (place[0], place[1]))
    return np.asarray(alpha) > 127


def compose(
    canvas: Image.Image, things: list[Thing], scales: list[float], numbers: np.random.Generator
) -> tuple[list[int], np.ndarray]:
    """Paste things one over the other; the categories and masks of those that are seen in the end."""
    masks = np.zeros((len(things), canvas.height, canvas.width), bool)
    for place, thing in enumerate(things):
        masks[place] = paste(canvas, resized(thing, min(canvas.size), scales, numbers), numbers)
        masks[:place] &= ~masks[place]
    seen = masks.sum((1, 2)) >= SEEN
    return [thing.category for thing, there in zip(things, seen, strict=True) if there], masks[seen]


def outlines(mask: np.ndarray) -> list[list[float]]:
    """The outlines of a mask as polygons; holes are filled."""
    found = measure.find_contours(np.pad(mask, 1).astype(float), 0.5)
    parts = [np.round(contour[:, ::-1] - 0.5, 1).ravel().tolist() for contour in found]
    return [part for part in parts if len(part) >= 6]


def annotations(
    first: int, image: int, categories: list[int], masks: np.ndarray, polygons: bool
) -> list[dict[str, Any]]:
    """The objects of an image as COCO has them, numbered from `first`."""
    pixels = torch.from_numpy(masks).to(torch.uint8)
    boxes = boxes_of(pixels).tolist()
    return [
        {
            "id": first + place,
            "image_id": image,
            "category_id": categories[place] + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": int(masks[place].sum()),
            "segmentation": outlines(masks[place]) if polygons else rle,
            "iscrowd": 0,
        }
        for place, ((left, top, right, bottom), rle) in enumerate(zip(boxes, to_rles(pixels), strict=True))
    ]


def picture(
    image: int, cut_outs: list[list[Image.Image]], grounds: list[Image.Image], words: argparse.Namespace
) -> tuple[Image.Image, list[int], np.ndarray]:
    """A picture of the set, which its number and the seed alone decide, and its objects' categories and masks."""
    numbers = np.random.default_rng([words.seed, image])
    canvas = background(grounds[numbers.integers(len(grounds))], tuple(words.size), numbers)
    kinds = numbers.integers(len(cut_outs), size=numbers.integers(1, 7)).tolist()
    things = [Thing(kind, cut_outs[kind][numbers.integers(len(cut_outs[kind]))]) for kind in kinds]
    return canvas, *compose(canvas, things, words.scales, numbers)


def build(words: argparse.Namespace) -> None:
    """Write the pictures and the annotations of both splits."""
    cut_outs, grounds = stamps(words.categories), photographs()
    names = [{"id": place, "name": name} for place, name in enumerate(list(FOLDERS)[: words.categories], 1)]
    (words.out / "images").mkdir(parents=True, exist_ok=True)
    train = words.images - words.images // 4
    for split, images in (("train", range(train)), ("val", range(train, words.images))):
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": names}
        for image in images:
            canvas, categories, masks = picture(image, cut_outs, grounds, words)
            size = {"height": canvas.height, "width": canvas.width}
            content["images"].append({"id": image + 1, "file_name": f"{image:05d}.png"} | size)
            first = len(content["annotations"]) + 1
            content["annotations"] += annotations(first, image + 1, categories, masks, words.polygons)
            canvas.save(words.out / "images" / f"{image:05d}.png")
        (words.out / f"{split}.json").write_text(json.dumps(content))
        print(f"{split}: {len(content['images'])} images, {len(content['annotations'])} objects")


def main(arguments: list[str] | None = None) -> None:
    """Read the words and write the set."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", type=Path)
    words.add_argument("--images", type=int, default=64)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("HEIGHT", "WIDTH"))
    words.add_argument("--categories", type=int, default=5, choices=range(1, len(FOLDERS) + 1))
    words.add_argument("--scales", type=float, nargs=2, default=(0.15, 0.7), metavar=("LEAST", "MOST"))
    words.add_argument("--polygons", action="store_true")
    build(words.parse_args(arguments))


if __name__ == "__main__":
    main()
