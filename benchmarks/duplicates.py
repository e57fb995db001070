"""How many planted crops and mirrored copies `pcae check-data --by W` finds among crops of photographs.

The images are pieces of the photographs in FOLDERS that do not overlap and have contrast and detail, 64 x 64 pixels,
none of which looks like another or like another mirrored. Of 100 of them a copy is planted: 50 mirrored, 50 cropped to
60 to 90 % of their area; all are saved as JPEG again. A false alarm is an image that is tied to one that it is no copy
of.

usage: python benchmarks/duplicates.py FOLDER... --weights RUN [--images 5000] [--seed 0] [--save DIR] [--out FILE.json]
"""

import argparse
import io
import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

import pcae
from pcae.data.duplicates import near_by_features
from pcae.evaluation.features import embed_both_ways
from pcae.pages.check_data import ALIKE_BY_FEATURES
from pcae.writing import replace_json

SIDE, CONTRAST, DETAIL, TWINS = 64, 20, 12, 0.93
"""Pixels of a piece, the least standard deviation of its gray values, the least mean step from one of 16 x 16 of them
to the next, and the correlation from which on another piece is left out."""
PLANTED = 100


def pieces(folders: list[str]) -> Iterator[Image.Image]:
    """Pieces with contrast, photograph by photograph."""
    for path in sorted(path for folder in folders for path in Path(folder).rglob("*.jpg")):
        image = Image.open(path)
        if image.width > 3_500:
            image.draft("RGB", (image.width // 2, image.height // 2))
        image = image.convert("RGB")
        for top in range(0, image.height - SIDE + 1, SIDE):
            for left in range(0, image.width - SIDE + 1, SIDE):
                piece = image.crop((left, top, left + SIDE, top + SIDE))
                gray = sketch(piece)
                if gray.std() >= CONTRAST and abs(np.diff(gray)).mean() >= DETAIL:
                    yield piece


def sketch(piece: Image.Image) -> np.ndarray:
    """A small gray copy."""
    return np.asarray(piece.convert("L").resize((16, 16), Image.Resampling.BOX), np.float32)


def without_twins(found: list[Image.Image], count: int) -> list[Image.Image]:
    """So many pieces, drawn at random, none of which looks like another one, mirrored or not."""
    gray = torch.from_numpy(np.stack(list(map(sketch, found))))
    flat = [F.normalize((one - one.mean((1, 2), keepdim=True)).flatten(1), dim=1) for one in (gray, gray.flip(2))]
    kept: list[int] = []
    for index in random.sample(range(len(found)), len(found)):
        if len(kept) == count:
            break
        if not kept or max(float((flat[0][kept] @ one[index]).max()) for one in flat) < TWINS:
            kept.append(index)
    return [found[index] for index in kept]


def copy_of(piece: Image.Image, mirrored: bool) -> Image.Image:
    """A planted copy."""
    if mirrored:
        return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    side = round(SIDE * random.uniform(0.6, 0.9) ** 0.5)
    left, top = random.randint(0, SIDE - side), random.randint(0, SIDE - side)
    return piece.crop((left, top, left + side, top + side))


def saved(image: Image.Image) -> Image.Image:
    """An image as JPEG of quality 85."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return Image.open(file).convert("RGB")


def measure(images: list[Image.Image], picked: list[int], weights: str) -> dict[str, Any]:
    """How many of the copies, which stand at the end, are tied to their own image, and how many images to others."""
    shown = pcae.open_images(images)
    _, features, small = embed_both_ways(pcae.load(weights), shown, range(len(images)))
    groups = near_by_features(features, small, range(len(images)), ALIKE_BY_FEATURES, torch.device("cpu"))
    group = {place: number for number, one in enumerate(groups) for place in one.members}
    count = len(images) - PLANTED
    hit = [group.get(count + place, -1) == group.get(own, -2) for place, own in enumerate(picked)]
    own = dict(zip(picked, range(count, len(images)), strict=True))
    alone = {frozenset((place, own[place])) for place in picked} | {frozenset((place,)) for place in range(len(images))}
    wrong = [one for one in groups if frozenset(one.members) not in alone]
    return {
        "found_mirrored": sum(hit[: PLANTED // 2]),
        "found_crops": sum(hit[PLANTED // 2 :]),
        "false_alarms": sum(place < count for one in wrong for place in one.members),
    }


def benchmark() -> None:
    """Make the images, measure, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folders", nargs="+")
    words.add_argument("--weights", required=True)
    words.add_argument("--images", type=int, default=5_000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--save", type=Path)
    words.add_argument("--out", type=Path)
    asked = words.parse_args()
    torch.set_num_threads(1)
    random.seed(asked.seed)
    base = without_twins(list(pieces(asked.folders)), asked.images)
    picked = random.sample(range(len(base)), PLANTED)
    copies = [copy_of(base[index], mirrored=place < PLANTED // 2) for place, index in enumerate(picked)]
    if asked.save is not None:
        asked.save.mkdir(parents=True, exist_ok=True)
        for place, image in enumerate([*base, *copies]):
            image.save(asked.save / f"{place:05d}.jpg", quality=92)
    result = {
        "command": " ".join(["python", "benchmarks/duplicates.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("torch", "pillow")},
        "images": len(base),
        "planted": {"mirrored": PLANTED // 2, "crops": PLANTED // 2},
        **measure(list(map(saved, [*base, *copies])), picked, asked.weights),
    }
    print(json.dumps(result, indent=2))
    if asked.out is not None:
        replace_json(asked.out, result)


if __name__ == "__main__":
    benchmark()
