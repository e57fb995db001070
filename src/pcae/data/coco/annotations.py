"""Object annotations in COCO's JSON format -> images with boxes, labels and masks, checked before anything is read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pcae.data.coco.checks import Annotation, Content, check_content, faults, parse
from pcae.data.coco.layout import CocoFiles, find_coco
from pcae.data.coco.segmentations import Rle, Size, area, to_rle
from pcae.data.crops import to_tensor
from pcae.data.files.bounds import decoding
from pcae.data.files.decode import MIRRORED, ORIENTATION, Unreadable, opened
from pcae.data.images import Images
from pcae.data.lazy import pick
from pcae.settings.choices import Split
from pcae.settings.reading import MAX_BAD_ANNOTATIONS

PHOTOGRAPHS = ("JPEG", "WEBP")
"""Formats that cameras and phones store turned."""


@dataclass(frozen=True, eq=False)
class CocoImages:
    """Images and the objects in them, by image in the file's order.

    annotations: the file that they were read from. images: the pictures; `images.classes` has the names of
    the categories in the file's order. ids: of the images. sizes: height and width. category_ids: of labels 1, 2, ...
    starts: the objects of image i are the rows from starts[i] to starts[i + 1] of boxes (left, top, width and height,
    as the file has them), labels, areas and crowds. segmentations: those of an image's objects as JSON, where the file
    has any. notes: what is odd about the file, though no error, a line each.
    """

    annotations: str
    images: Images
    ids: Int[np.ndarray, " images"]
    sizes: Int[np.ndarray, "images 2"]
    category_ids: list[int]
    starts: Int[np.ndarray, " images_and_1"]
    boxes: Float[np.ndarray, "objects 4"]
    labels: Int[np.ndarray, " objects"]
    areas: Float[np.ndarray, " objects"]
    crowds: Bool[np.ndarray, " objects"]
    segmentations: Sequence[bytes] | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def size(self, index: int) -> Size:
        """Height and width of an image."""
        return int(self.sizes[index, 0]), int(self.sizes[index, 1])

    def rows(self, index: int) -> slice:
        """Where the objects of an image stand."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def corners(self, index: int) -> Float[Tensor, "objects 4"]:
        """Left, top, right and bottom of the objects of an image, inside it."""
        boxes = torch.tensor(self.boxes[self.rows(index)])
        boxes[:, 2:] += boxes[:, :2]
        height, width = self.size(index)
        return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height])).float()

    def rles(self, index: int) -> list[Rle]:
        """The masks of the objects of an image. Raises ValueError where the file has boxes only."""
        if self.segmentations is None:
            raise ValueError(f"annotations {self.annotations!r} have boxes only, no masks")
        return [to_rle(segmentation, self.size(index)) for segmentation in json.loads(self.segmentations[index])]

    def read(self, index: int) -> UInt8[Tensor, "channels height width"]:
        """The pixels of an image upright, or as they are stored where the annotations have the size of that alone.

        Raises Unreadable, also when neither is of their size.
        """
        name, (height, width) = self.images.names[index], self.size(index)
        upright = to_tensor(self.images.open(index))
        if upright.shape[1:] == (height, width):
            return upright
        stored = as_stored(upright, orientation_of(name))
        if stored.shape[1:] == (height, width):
            return stored
        sides = f"{upright.shape[2]} x {upright.shape[1]}"
        raise Unreadable(name, f"upright it has {sides} pixels, and its annotations are for {width} x {height}")

    def subset(self, chosen: Sequence[int] | np.ndarray) -> "CocoImages":
        """Some of the images, with their objects."""
        chosen = np.asarray(chosen, dtype=np.int64)
        counts = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(counts)])
        rows = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], counts)
        names = pick(self.images.names, chosen)
        return replace(
            self,
            images=replace(self.images, items=names, names=names),
            ids=self.ids[chosen],
            sizes=self.sizes[chosen],
            starts=starts,
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            areas=self.areas[rows],
            crowds=self.crowds[rows],
            segmentations=pick(self.segmentations, chosen) if self.segmentations is not None else None,
        )

    def labelled_as(self, classes: Sequence[str]) -> "CocoImages":
        """The same with the labels of a detector of these classes. Raises ValueError when the categories are others."""
        own = self.images.classes
        if sorted(own) != sorted(classes):
            odd = sorted(set(own) ^ set(classes))
            raise ValueError(
                f"annotations {self.annotations!r} have {len(own)} categories and the detector {len(classes)} classes; "
                f"{odd[0]!r} is in one of them alone; give both the same, with objects or without"
            )
        order = [own.index(name) for name in classes]
        return replace(
            self,
            images=replace(self.images, classes=list(classes)),
            category_ids=[self.category_ids[place] for place in order],
            labels=np.argsort([-1, *order])[self.labels],
        )

    def with_objects(self) -> "CocoImages":
        """The images that show an object, not only crowds: others teach what is background."""
        objects = np.concatenate([[0], np.cumsum(~self.crowds)])
        return self.subset(np.flatnonzero(np.diff(objects[self.starts])))


def orientation_of(path: str) -> int:
    """How a photograph is stored, by its EXIF data; 1, upright, for formats that are no photographs'."""
    try:
        with decoding(), opened(path) as file, Image.open(file, formats=PHOTOGRAPHS) as image:
            return image.getexif().get(ORIENTATION, 1)
    except UnidentifiedImageError:
        return 1


def as_stored(
    upright: UInt8[Tensor, "channels _height _width"], orientation: int
) -> UInt8[Tensor, "channels _height _width"]:
    """The pixels of an upright picture as a file of this orientation stores them."""
    across, down = MIRRORED.get(orientation, (0, 0))
    axes = [axis for axis, mirrored in ((1, down), (2, across)) if mirrored]
    pixels = upright.flip(axes) if axes else upright
    return pixels.mT.contiguous() if 5 <= orientation <= 8 else pixels


def open_coco(
    data: str,
    split: Split = "train",
    images: str | None = None,
    channels: int = 3,
    max_bad_annotations: float = MAX_BAD_ANNOTATIONS,
) -> CocoImages:
    """The images and objects of a split of DATA (`find_coco`). Raises ValueError in one line for what is wrong."""
    return read_coco(find_coco(data, split, images), channels, max_bad_annotations)


def read_coco(files: CocoFiles, channels: int = 3, max_bad_annotations: float = MAX_BAD_ANNOTATIONS) -> CocoImages:
    """Images and objects of a file of annotations; labels are 1, 2, ... in the order of its categories.

    An annotation that is wrong in itself (a box of no area, one more than a pixel outside, a mask of nothing) is left
    out while such are at most a share `max_bad_annotations`; else ValueError names the first.
    """
    path, content = str(files.annotations), parse(files.annotations)
    check_content(path, content)
    folder = folder_of(files, content)
    names = [str(folder / image.file_name) for image in content.images]
    images = Images(names, names, None, distinct(content), channels, str(folder))
    bad = faults(path, content, max_bad_annotations)
    kept = [annotation for place, annotation in enumerate(content.annotations) if place not in bad]
    count = f"{len(bad)} of {len(content.annotations)} annotations"
    notes = [f"{count} are left out: {reason}" for reason in list(bad.values())[:1]]
    return arranged(path, images, content, kept, (*notes, *remarks(content, kept)))


def folder_of(files: CocoFiles, content: Content) -> Path:
    """The folder that the images lie in. Raises ValueError when the images are in none or some are missing."""
    names = [image.file_name for image in content.images]
    folder = next((folder for folder in files.folders if any((folder / name).is_file() for name in names[:10])), None)
    folder = folder or files.folders[0]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more of {len(names)}" if len(missing) > 1 else ""
        raise ValueError(
            f"annotations {str(files.annotations)!r} name the image {missing[0]!r}{more}, which is not in "
            f"{str(folder)!r}; give the folder by --images DIR, in training that of held-out images by "
            "--validation-images DIR"
        )
    return folder


def remarks(content: Content, kept: list[Annotation]) -> list[str]:
    """What is odd about a file, though no error: gaps between categories, categories and images without objects."""
    ids = [category.id for category in content.categories]
    used = {annotation.category_id for annotation in kept}
    idle = [name for name, id in zip(distinct(content), ids, strict=True) if id not in used]
    bare = len(content.images) - len({annotation.image_id for annotation in kept})
    gaps = sorted(ids) != list(range(min(ids), min(ids) + len(ids)))
    return [
        *[f"{len(ids)} categories have ids from {min(ids)} to {max(ids)} with gaps; they are taken without"] * gaps,
        *[f"no object is of {len(idle)} of {len(ids)} categories, the first of which is {idle[0]!r}" for _ in idle[:1]],
        *[f"{bare} of {len(content.images)} images have no annotations"] * bool(bare),
    ]


def arranged(path: str, images: Images, content: Content, kept: list[Annotation], notes: tuple[str, ...]) -> CocoImages:
    """The images in the file's order, and their objects as arrays."""
    places = {image.id: place for place, image in enumerate(content.images)}
    labels = {category.id: place for place, category in enumerate(content.categories, 1)}
    kept = sorted(kept, key=lambda annotation: places[annotation.image_id])
    counts = np.bincount([places[annotation.image_id] for annotation in kept], minlength=len(places))
    starts = np.concatenate([[0], np.cumsum(counts)])
    sizes = np.array([(image.height, image.width) for image in content.images])
    masks = any(annotation.segmentation for annotation in kept)
    return CocoImages(
        annotations=path,
        images=images,
        ids=np.array(list(places)),
        sizes=sizes,
        category_ids=list(labels),
        starts=starts,
        boxes=np.array([annotation.bbox for annotation in kept], dtype=np.float64).reshape(-1, 4),
        labels=np.array([labels[annotation.category_id] for annotation in kept], dtype=np.int64),
        areas=np.array([area_of(annotation, sizes[places[annotation.image_id]]) for annotation in kept]),
        crowds=np.array([bool(annotation.iscrowd) for annotation in kept], dtype=bool),
        segmentations=by_image(kept, starts) if masks else None,
        notes=notes,
    )


def distinct(content: Content) -> list[str]:
    """The categories' names, with the id where one stands twice."""
    names = [category.name for category in content.categories]
    return [
        category.name if names.count(category.name) == 1 else f"{category.name} ({category.id})"
        for category in content.categories
    ]


def area_of(annotation: Annotation, size: Any) -> float:
    """What the file says, else the pixels of the mask, else those of the box."""
    if annotation.area is not None:
        return annotation.area
    if annotation.segmentation:
        return float(area(to_rle(annotation.segmentation, (int(size[0]), int(size[1])))))
    return annotation.bbox[2] * annotation.bbox[3]


def by_image(kept: list[Annotation], starts: np.ndarray) -> list[bytes]:
    """The segmentations of each image's objects as JSON: as lists of numbers they take ten times the memory."""
    return [
        json.dumps([annotation.segmentation for annotation in kept[start:stop]]).encode()
        for start, stop in pairwise(starts.tolist())
    ]
