"""Images decoded, cropped and resized to uint8: whole, or at random by seed and position in the run alone."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from pcae.data.files.decode import Box, Part, Source, size_of
from pcae.data.files.eight_bits import EightBits
from pcae.data.files.stored import Size
from pcae.data.images import Images

RATIO = (3 / 4, 4 / 3)
"""The least and the largest ratio of a random crop's sides, width to height."""
LOG_RATIO = torch.tensor(RATIO).log().tolist()

LESS_ROOM = 1.5
"""Room of random crops, less than of whole images: a large JPEG is then hardly ever read in full."""


def to_tensor(pixels: EightBits) -> UInt8[Tensor, "channels height width"]:
    """The pixels of an image; in memory, its channels stay behind one another."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def to_array(pixels: UInt8[Tensor, "channels height width"]) -> EightBits:
    """An image of pixels."""
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def to_picture(pixels: UInt8[Tensor, "channels height width"]) -> Image.Image:
    """The picture of gray or colour pixels."""
    return picture_of(to_array(pixels))


def picture_of(pixels: EightBits) -> Image.Image:
    """The picture of gray or colour pixels."""
    return Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))


@dataclass(frozen=True)
class WholeImages(Dataset):
    """Every image whole: resized to cover `size` (height, width), its centre cut out; the same every time.

    crop_pct: share of the sides that is looked at; the rest is cut off all around first. known: with a last channel
    that is 255 where all pixels are known that went into one.
    """

    images: Images
    size: tuple[int, int]
    crop_pct: float = 1.0
    known: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> UInt8[Tensor, "channels height width"]:
        target = (self.size[1], self.size[0])
        pixels, box, missing = self.images.open_part(index, self.part)
        shown = cut(pixels, box, target)
        if not self.known:
            return shown
        known = torch.full((1, *self.size), 255, dtype=torch.uint8)
        if missing is not None:
            known = cut(~missing[..., None] * np.uint8(255), box, target)
        return torch.cat([shown, known])

    def part(self, size: Size) -> Part:
        """What is looked at of an image of this size."""
        target = (self.size[1], self.size[0])
        return Part(covering(size, target, self.crop_pct), target)


def fit(pixels: EightBits, target: Size) -> UInt8[Tensor, "channels rows columns"]:
    """A picture resized to cover `target` (width, height), its centre cut out."""
    return cut(pixels, covering(size_of(pixels), target), target)


def covering(size: Size, target: Size, crop_pct: float = 1.0) -> Box:
    """The largest part, in the middle of a picture less its margin, that has the sides' ratio of `target`."""
    width = min(size[0], size[1] * target[0] / target[1]) * crop_pct
    height = min(size[1], size[0] * target[1] / target[0]) * crop_pct
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def between_pixels(box: Box) -> Box:
    """A box moved by half a pixel at most, so that it cuts none: torch resizes such parts alone, in a fifth of the time
    that Pillow's filter takes."""
    left, top = math.floor(box[0] + 0.5), math.floor(box[1] + 0.5)
    width, height = max(round(box[2] - box[0]), 1), max(round(box[3] - box[1]), 1)
    return float(left), float(top), float(left + width), float(top + height)


def cut(pixels: EightBits, box: Box, target: Size) -> UInt8[Tensor, "channels rows columns"]:
    """A part of a picture, between whole pixels, resized to `target` by torch's antialiased bicubic filter."""
    left, top, right, bottom = map(int, between_pixels(box))
    part = to_tensor(pixels[top:bottom, left:right])
    if part.shape[1:] == target[::-1]:
        return part
    return interpolate(part[None], target[::-1], mode="bicubic", antialias=True)[0]


@dataclass(frozen=True)
class RandomCrops(Dataset):
    """Random resized crops (bicubic) of `size` (height, width), with `crop_scale` the least and most share of the area;
    (1, 1) takes whole images.

    An item is (index of the image, position in the run): the crop depends on the seed and the position alone. The box
    is chosen in full resolution, however far the image is reduced to be read; there it is moved to whole pixels.
    """

    images: Images
    size: tuple[int, int]
    crop_scale: tuple[float, float]
    seed: int

    def __getitem__(self, item: tuple[int, int]) -> UInt8[Tensor, "channels height width"]:
        index, position = item
        return self.crop(self.images.source(index), position, self.images.names[index])

    @property
    def whole(self) -> bool:
        """Whether nothing is random."""
        return self.crop_scale == (1.0, 1.0)

    def crop(self, source: Source | np.ndarray, position: int, name: str) -> UInt8[Tensor, "channels height width"]:
        """The crop at a position of the run of an image that is at hand as it is stored. Raises Unreadable."""
        pixels, box, _ = self.images.part_of(source, lambda size: self.part(size, position), name)
        return cut(pixels, box, (self.size[1], self.size[0]))

    def part(self, size: Size, position: int) -> Part:
        """What the crop at a position of the run takes of an image of this size."""
        target = (self.size[1], self.size[0])
        if self.whole:
            return Part(covering(size, target), target)
        return Part(draw_box(size, self.crop_scale, self.seed, position), target, LESS_ROOM)


def seed_at(seed: int, position: int) -> int:
    """What a generator begins with for a position of a run."""
    return int(np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)[0])


def draw_box(size: Size, crop_scale: tuple[float, float], seed: int, position: int) -> Box:
    """Left, top, right and bottom of the random crop at a position of a run, in an image of this size.

    The numbers of torchvision's RandomResizedCrop after torch.manual_seed, in half of its time and without a change to
    the generator that everybody draws from.
    """
    generator = torch.Generator().manual_seed(seed_at(seed, position))
    area, one = size[0] * size[1], torch.empty(1)
    for _ in range(10):
        share = one.uniform_(*crop_scale, generator=generator).item()
        ratio = one.uniform_(*LOG_RATIO, generator=generator).exp().item()
        width, height = round(math.sqrt(area * share * ratio)), round(math.sqrt(area * share / ratio))
        if 0 < width <= size[0] and 0 < height <= size[1]:
            top = int(torch.randint(0, size[1] - height + 1, (1,), generator=generator))
            left = int(torch.randint(0, size[0] - width + 1, (1,), generator=generator))
            return float(left), float(top), float(left + width), float(top + height)
    return widest(size)


def widest(size: Size) -> Box:
    """The middle of an image, as much as its sides' ratio allows: what is taken where ten draws do not fit."""
    width, height = min(size[0], round(size[1] * RATIO[1])), min(size[1], round(size[0] / RATIO[0]))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return float(left), float(top), float(left + width), float(top + height)
