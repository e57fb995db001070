"""Views of images in which boxes and masks move with the pixels, and loaders of lists of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Image, Mask

from pcae.data.batches import MicroBatches, leave_signals
from pcae.data.coco.annotations import CocoImages
from pcae.data.coco.segmentations import boxes_of, to_mask
from pcae.data.crops import seed_at
from pcae.data.images import Images
from pcae.data.unreadable import Read, Replaced
from pcae.settings.bounds import check_bounds
from pcae.settings.reading import MOST_SIDE, ViewConfig

Target = dict[str, Tensor]
"""The objects of a view as torchvision's detectors want them: boxes Float[n 4] (left, top, right and bottom), labels
Int[n], and masks UInt8[n height width] where there are any."""
Pixels = UInt8[Tensor, "channels height width"]


@contextmanager
def drawing(seed: int, position: int) -> Iterator[None]:
    """Have torchvision draw what belongs to a position of the run; nobody else's numbers change."""
    before = torch.get_rng_state()  # fork_rng and manual_seed do the same in ten times the time
    try:
        torch.default_generator.manual_seed(seed_at(seed, position))
        yield
    finally:
        torch.set_rng_state(before)


def check_view_config(config: ViewConfig) -> None:
    """Raise ValueError for values that cannot be."""
    check_bounds(config)
    check_sides(config.shortest_sides, config.longest_side)
    low, high = config.jitter_scale
    if low > high or high * max(config.jitter_size) > MOST_SIDE:
        raise ValueError(
            f"jitter_scale must be two positive numbers, ascending, that make no side of more than {MOST_SIDE} pixels, "
            f"got {config.jitter_scale}"
        )


def check_sides(shortest: Sequence[int], longest: int, name: str = "shortest_sides") -> None:
    """Raise ValueError for sides that no image can have. name: of the setting that the shorter ones come from."""
    if not shortest or not 0 < min(shortest) <= max(shortest) <= longest:
        raise ValueError(
            f"{name} must be pixels of at least 1 and at most longest_side, "
            f"got {', '.join(map(str, shortest)) or 'none'} and {longest}"
        )
    if longest > MOST_SIDE:
        raise ValueError(f"longest_side must be at most {MOST_SIDE}, got {longest}")


class AtLeastOnePixel(v2.Transform):
    """A resizing that leaves a pixel of images which are many times as long as wide."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The height and width."""
        height, width = super().make_params(flat_inputs)["size"]
        return {"size": (max(height, 1), max(width, 1))}


class ShortestSide(AtLeastOnePixel, v2.RandomShortestSize):
    """The shorter side gets one of several lengths."""


class Jitter(AtLeastOnePixel, v2.ScaleJitter):
    """The image gets a share of the size in which it just fits. torchvision wants the width first."""


def training_view(config: ViewConfig) -> v2.Transform:
    """What a training image, its boxes and its masks go through."""
    mirror = [v2.RandomHorizontalFlip()] if config.mirror else []
    if config.views == "multi-scale":
        return v2.Compose([ShortestSide(list(config.shortest_sides), config.longest_side), *mirror])
    height, width = config.jitter_size
    fill = {Image: config.padding, Mask: 0, "others": 0}
    crop = v2.RandomCrop((height, width), pad_if_needed=True, fill=fill)  # pyright: ignore[reportArgumentType]
    return v2.Compose([Jitter((width, height), config.jitter_scale), crop, *mirror])


@dataclass(frozen=True)
class CocoViews(Dataset):
    """Training views; an item is (index of the image, position in the run), which with the seed alone decides it.

    Crowds are no objects to learn. Objects go of whose box or mask nothing is left in the view; the box of one that
    was cut is drawn anew around what is left of its mask.
    """

    data: CocoImages
    config: ViewConfig
    seed: int

    @property
    def images(self) -> Images:
        """The images, for those that count unreadable ones."""
        return self.data.images

    def __getitem__(self, item: tuple[int, int]) -> tuple[Pixels, Target]:
        index, position = item
        transform = training_view(self.config)
        rows = self.data.rows(index)
        objects = np.flatnonzero(~self.data.crowds[rows])
        corners, size = self.data.corners(index)[objects], self.data.size(index)
        boxes = BoundingBoxes(corners, format=BoundingBoxFormat.XYXY, canvas_size=size)  # pyright: ignore[reportCallIssue]
        with drawing(self.seed, position):
            pixels, boxes = transform(Image(self.data.read(index)), boxes)
        boxes, there = v2.functional.sanitize_bounding_boxes(v2.functional.clamp_bounding_boxes(boxes))
        objects = objects[there.numpy()]
        found = {"boxes": boxes.as_subclass(Tensor), "labels": torch.from_numpy(self.data.labels[rows][objects])}
        if self.data.segmentations is not None:
            masks = self.masks(transform, item, objects, pixels.shape[1:])
            left = masks.flatten(1).amax(1) > 0
            found = {name: value[left] for name, value in (found | {"masks": masks}).items()}
            found["boxes"] = fitted(found["boxes"], found["masks"])
        return pixels.as_subclass(Tensor), found

    def masks(
        self, transform: v2.Transform, item: tuple[int, int], objects: np.ndarray, size: Sequence[int]
    ) -> UInt8[Tensor, "objects height width"]:
        """The masks of objects in a view, each unpacked and moved by itself: those of large images take gigabytes."""
        rles, masks = self.data.rles(item[0]), torch.zeros(len(objects), *size, dtype=torch.uint8)
        for place, one in enumerate(objects.tolist()):
            with drawing(self.seed, item[1]):
                masks[place] = transform(Mask(to_mask(rles[one])))
        return masks


def fitted(
    boxes: Float[Tensor, "objects 4"], masks: UInt8[Tensor, "objects height width"]
) -> Float[Tensor, "objects 4"]:
    """The boxes, those at the edge of the view drawn anew around their masks, since the view may have cut them."""
    height, width = masks.shape[1:]
    cut: Bool[Tensor, " objects"] = (boxes[:, :2] <= 0).any(1) | (
        boxes[:, 2:] >= boxes.new_tensor([width, height])
    ).any(1)
    return torch.where(cut[:, None], boxes_of(masks).to(boxes.dtype), boxes)


class ViewBatch(NamedTuple):
    """A batch of views of any sizes with their objects, the images' indices, and the reasons of unreadable ones."""

    images: list[Tensor]
    targets: list[Target]
    indices: list[int]
    failed: dict[int, str]

    def to(self, device: torch.device) -> "ViewBatch":
        """The batch with its tensors on a device; from pinned memory, without waiting for them."""
        images = [image.to(device, non_blocking=True) for image in self.images]
        targets = [{name: value.to(device, non_blocking=True) for name, value in one.items()} for one in self.targets]
        return self._replace(images=images, targets=targets)


def listed(read: list[Read]) -> ViewBatch:
    """Views as a batch, which is empty when none could be read."""
    there = [one for one in read if one.pixels is not None]
    return ViewBatch(
        [one.pixels[0] for one in there],
        [one.pixels[1] for one in there],
        [one.image for one in there],
        {index: reason for one in read for index, reason in one.failed.items()},
    )


def view_loader(views: CocoViews, order: MicroBatches, workers: int, device: torch.device) -> DataLoader:
    """Micro-batches of views (`ViewBatch`) in the order's order; unreadable images are replaced by others."""
    return DataLoader(
        Replaced(views),
        batch_sampler=order,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        pin_memory=device.type == "cuda",
        collate_fn=listed,
        worker_init_fn=leave_signals,
    )
