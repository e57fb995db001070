"""Object annotations in COCO's JSON format -> images with boxes, labels and masks, checked before anything is read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from pcae.data.coco.checks import Annotation, Content, Id, check_content, parse
from pcae.data.coco.faults import Usable, usable
from pcae.data.coco.file_names import image_files
from pcae.data.coco.layout import find_coco
from pcae.data.coco.segmentations import Rle, Size, area, to_rle
from pcae.data.crops import to_tensor
from pcae.data.files.bounds import decoding
from pcae.data.files.decode import Unreadable, opened
from pcae.data.files.readers import read
from pcae.data.files.stored import MIRRORED
from pcae.data.images import Images
from pcae.data.lazy import pick
from pcae.settings.choices import Split
from pcae.settings.reading import AnnotationConfig

AS_THEY_ARE = AnnotationConfig()


@dataclass(frozen=True, eq=False)
class CocoImages:
    """Images and the objects in them, by image in the file's order.

    annotations: the file that they were read from. images: the pictures; `images.classes` has the names of
    the categories in the file's order. ids: of the images. sizes: height and width. category_ids: of labels 1, 2, ...
    starts: the objects of image i are the rows from starts[i] to starts[i + 1] of boxes (left, top, width and height,
    as the file has them), labels, areas and crowds. segmentations: those of an image's objects as JSON; None where
    boxes alone are taken. notes: what is odd about the file, though no error, a line each.
    """

    annotations: str
    images: Images
    ids: list[Id]
    sizes: Int[np.ndarray, "images 2"]
    category_ids: list[Id]
    starts: Int[np.ndarray, " images_and_1"]
    boxes: Float[np.ndarray, "objects 4"]
    labels: Int[np.ndarray, " objects"]
    areas: Float[np.ndarray, " objects"]
    crowds: Bool[np.ndarray, " objects"]
    segmentations: Sequence[bytes] | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def objects(self) -> int:
        """How many objects there are, crowds apart."""
        return int((~self.crowds).sum())

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
        """The masks of the objects of an image. Raises ValueError where boxes alone are taken."""
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
            ids=[self.ids[place] for place in chosen],
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
    """How an image is stored, as its file says; 1 is upright."""
    with decoding(), opened(path) as file:
        return read(file).orientation()


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
    config: AnnotationConfig = AS_THEY_ARE,
) -> CocoImages:
    """The images and objects of a split of DATA (`find_coco`); labels are 1, 2, ... in the order of its categories.

    An annotation that is wrong in itself (a box of no area, one more than a pixel outside, a mask of nothing) is left
    out while such are at most a share `max_bad_annotations`; else ValueError names the first, in one line.
    """
    files = find_coco(data, split, images)
    path, content = str(files.annotations), parse(files.annotations)
    check_content(path, content)
    found = image_files(files, content.images)
    pictures = Images(found.paths, found.paths, None, distinct(content), channels, str(found.folder))
    sizes, measured = sizes_of(pictures, content)
    objects = usable(path, content, sizes, config)
    notes = (*objects.notes, *found.notes, *measured, *remarks(content, objects.annotations, config))
    return arranged(path, pictures, content, sizes, objects, config.crowds_as_objects, notes)


def sizes_of(images: Images, content: Content) -> tuple[list[Size], list[str]]:
    """Height and width of the images, read off those whose size the file does not say; and how many these are."""
    sizes = [
        (image.height, image.width) if image.height and image.width else measure(images, place)
        for place, image in enumerate(content.images)
    ]
    count = sum(not (image.height and image.width) for image in content.images)
    return sizes, [f"{count} of {len(sizes)} images have no size in the file; it is read off the pictures"][:count]


def measure(images: Images, place: int) -> Size:
    """Height and width of an image upright. Raises Unreadable."""
    height, width = to_tensor(images.open(place)).shape[1:]
    return height, width


def remarks(content: Content, kept: list[Annotation], config: AnnotationConfig) -> list[str]:
    """What is odd about a file, though no error: crowds, gaps between categories, categories and images without
    objects."""
    ids = [category.id for category in content.categories]
    used, shown = ({str(getattr(one, name)) for one in kept} for name in ("category_id", "image_id"))
    idle = [name for name, id in zip(distinct(content), ids, strict=True) if str(id) not in used]
    bare = len(content.images) - len(shown)
    crowds = 0 if config.crowds_as_objects else sum(one.iscrowd for one in kept)
    return [
        *[f"{crowds} of {len(kept)} objects are crowds (iscrowd 1), which are neither learned nor counted; "
          "--crowds-as-objects takes them as objects, as masks of supervision and datumaro are meant"] * bool(crowds),
        *gaps([id for id in ids if isinstance(id, int)]),
        *[f"no object is of {len(idle)} of {len(ids)} categories, the first of which is {idle[0]!r}" for _ in idle[:1]],
        *[f"{bare} of {len(content.images)} images have no annotations"] * bool(bare),
    ]  # fmt: skip


def gaps(ids: list[int]) -> list[str]:
    """Whether numbers are missing between the ids of the categories."""
    if not ids or sorted(ids) == list(range(min(ids), min(ids) + len(ids))):
        return []
    return [f"{len(ids)} categories have ids from {min(ids)} to {max(ids)} with gaps; they are taken without"]


def arranged(
    path: str,
    images: Images,
    content: Content,
    sizes: list[Size],
    objects: Usable,
    counted: bool,
    notes: tuple[str, ...],
) -> CocoImages:
    """The images in the file's order, and their objects as arrays. counted: crowds are objects like others."""
    places = {str(image.id): place for place, image in enumerate(content.images)}
    labels = {str(category.id): place for place, category in enumerate(content.categories, 1)}
    kept = sorted(objects.annotations, key=lambda one: places[str(one.image_id)])
    shown = [places[str(one.image_id)] for one in kept]
    starts = np.concatenate([[0], np.cumsum(np.bincount(shown, minlength=len(places)))]).astype(np.int64)
    return CocoImages(
        annotations=path,
        images=images,
        ids=[image.id for image in content.images],
        sizes=np.array(sizes),
        category_ids=[category.id for category in content.categories],
        starts=starts,
        boxes=np.array([one.bbox for one in kept], dtype=np.float64).reshape(-1, 4),
        labels=np.array([labels[str(one.category_id)] for one in kept], dtype=np.int64),
        areas=np.array([area_of(one, sizes[place]) for one, place in zip(kept, shown, strict=True)]),
        crowds=np.array([bool(one.iscrowd) and not counted for one in kept], dtype=bool),
        segmentations=by_image(kept, starts) if objects.masks else None,
        notes=notes,
    )


def distinct(content: Content) -> list[str]:
    """The categories' names, with the id where one stands twice."""
    names = [category.name for category in content.categories]
    return [
        category.name if names.count(category.name) == 1 else f"{category.name} ({category.id})"
        for category in content.categories
    ]


def area_of(annotation: Annotation, size: Size) -> float:
    """What the file says where that is an area, else the pixels of the mask, else those of the box."""
    if annotation.area and annotation.area > 0:
        return annotation.area
    if annotation.segmentation:
        return float(area(to_rle(annotation.segmentation, size)))
    assert annotation.bbox is not None
    return annotation.bbox[2] * annotation.bbox[3]


def by_image(kept: list[Annotation], starts: np.ndarray) -> list[bytes]:
    """The segmentations of each image's objects as JSON: as lists of numbers they take ten times the memory."""
    return [
        json.dumps([annotation.segmentation for annotation in kept[start:stop]]).encode()
        for start, stop in pairwise(starts.tolist())
    ]
