"""Images that lie in one array: read as they are, and cropped a batch at a time, on the device where there is one."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from pcae.data.augment import crop_batch
from pcae.data.crops import RandomCrops, between_pixels
from pcae.data.unreadable import Batch

SMALL = 32
"""Pixels of the longest side, before and after, up to which a CPU crops batches. What one image at a time costs hardly
depends on its size, two matrix products grow with its cube: they took 0.5 to 0.7 of the time up to here, on one thread
and on two, as long at 48 pixels and longer at 64."""
SHARE = 0.25
"""Share of a device's free memory that images may take: a run's optimizer and activations need the rest."""
BLOCK = 1_024
"""Images that are copied to the device at once."""


def together(crops: RandomCrops, device: torch.device) -> bool:
    """Whether crops are made a batch at a time: of one array, with nothing done to a crop but that it is taken."""
    items, channels = crops.images.items, crops.images.channels
    if type(crops) is not RandomCrops or not isinstance(items, np.ndarray):
        return False
    if (stored := items.shape[3] if items.ndim == 4 else 1) != channels and (stored, channels) != (1, 3):
        return False
    return device.type != "cpu" or as_they_are(crops) or max(*items.shape[1:3], *crops.size) <= SMALL


def as_they_are(crops: RandomCrops) -> bool:
    """Whether every crop is all of an array's image in its own size."""
    items = crops.images.items
    return isinstance(items, np.ndarray) and crops.whole and items.shape[1:3] == crops.size


@dataclass(frozen=True)
class Uncropped(Dataset):
    """Whole batches (`Batch`) of an array's images as they are, and the boxes that `crops` takes of them.

    held: all images lie on the device already, so that a batch has their rows there in place of pixels.
    """

    crops: RandomCrops
    held: bool = False

    def __getitems__(self, items: list[tuple[int, int]]) -> Batch:
        indices, array = [index for index, _ in items], self.crops.images.items
        assert isinstance(array, np.ndarray)
        boxes, size = None, (array.shape[2], array.shape[1])
        if not as_they_are(self.crops):
            parts = [self.crops.part(size, position) for _, position in items]
            boxes = torch.tensor([between_pixels(part.box) for part in parts], dtype=torch.float32)
        if self.held:
            return Batch(torch.zeros(0, 0, 0, 0, dtype=torch.uint8), indices, {}, boxes, torch.tensor(indices))
        return Batch(copied(array, np.array(indices)), indices, {}, boxes)


def as_read(batch: Batch) -> Batch:
    """A batch that was read whole: nothing is left to collate."""
    return batch


def copied(array: np.ndarray, rows: np.ndarray) -> UInt8[Tensor, "rows channels height width"]:
    """A copy of some images of an array."""
    pixels = torch.from_numpy(np.asarray(array[rows]))
    return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Cropper:
    """What is still to be done to a batch of `crops`: gather it from `held`, crop it, repeat gray for colours.

    held: all images, where they lie on the device.
    """

    crops: RandomCrops
    held: UInt8[Tensor, "images stored height width"] | None = None

    def __call__(self, batch: Batch) -> Batch:
        """The batch in pixels of the right size; one that is so already stays as it is."""
        pixels = batch.pixels
        if batch.rows is not None:
            assert self.held is not None
            pixels = self.held[batch.rows]
        if batch.boxes is not None:
            pixels = crop_batch(pixels, batch.boxes, self.crops.size)
        return batch._replace(pixels=pixels.expand(-1, self.crops.images.channels, -1, -1), boxes=None, rows=None)


def cropper(crops: RandomCrops, device: torch.device, free: int | None = None) -> Cropper:
    """What finishes the batches of a run on its device; small images are copied there, all of them and once.

    free: the device's free bytes; without it, as CUDA says. Other accelerators do not tell, and CPUs have them anyway.
    """
    if free is None:
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    array = crops.images.items
    if isinstance(array, np.ndarray) and together(crops, device) and array.nbytes <= SHARE * free:
        return Cropper(crops, upload(array, device))
    return Cropper(crops)


def upload(array: np.ndarray, device: torch.device) -> UInt8[Tensor, "images channels height width"]:
    """All images of an array on a device, copied block by block, so that there is never a second copy here."""
    blocks = [np.arange(first, min(first + BLOCK, len(array))) for first in range(0, len(array), BLOCK)]
    there = torch.empty(len(array), *copied(array, blocks[0][:1]).shape[1:], dtype=torch.uint8, device=device)
    for rows in blocks:
        there[rows[0] : rows[-1] + 1] = copied(array, rows).to(device)
    return there
