"""Images decoded, cropped and resized to uint8: whole, or at random by seed and position in the run alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset
from torchvision.transforms import RandomResizedCrop

from pcae.data.files.decode import Box, Part, Planes, Size, Source
from pcae.data.images import Images


def to_tensor(planes: Planes) -> UInt8[Tensor, "channels height width"]:
    """The pixels of an image."""
    pixels = [torch.from_numpy(np.array(plane)) for plane in planes]
    return torch.stack(pixels) if pixels[0].ndim == 2 else pixels[0].permute(2, 0, 1).contiguous()


def to_picture(pixels: UInt8[Tensor, "channels height width"]) -> Image.Image:
    """The picture of gray or colour pixels."""
    return Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous().numpy())


@dataclass(frozen=True)
class WholeImages(Dataset):
    """Every image whole: resized to cover `size` (height, width), its centre cut out; the same every time.

    crop_pct: share of the sides that is looked at; the rest is cut off all around first.
    """

    images: Images
    size: tuple[int, int]
    crop_pct: float = 1.0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> UInt8[Tensor, "channels height width"]:
        return to_tensor(fit(self.images.open(index), (self.size[1], self.size[0]), self.crop_pct))


def fit(planes: Planes, target: tuple[int, int], crop_pct: float = 1.0) -> Planes:
    """A picture resized to cover `target` (width, height), its centre cut out."""
    if planes[0].size == target and crop_pct == 1:
        return planes
    bleed = (1 - crop_pct) / 2
    return tuple(ImageOps.fit(plane, target, Image.Resampling.BICUBIC, bleed) for plane in planes)


def covering(size: Size, target: Size) -> Box:
    """The largest part, in the middle of a picture, that has the sides' ratio of `target`."""
    width = min(size[0], size[1] * target[0] / target[1])
    height = min(size[1], size[0] * target[1] / target[0])
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def cut(planes: Planes, box: Box, target: Size) -> UInt8[Tensor, "channels height width"]:
    """A part of a picture resized to `target` by the antialiased bicubic filter.

    torch's filter for colours takes a fifth of the time of Pillow's, which alone knows boxes between pixels.
    """
    if planes[0].mode != "RGB" or any(side % 1 for side in box):
        return to_tensor(tuple(plane.resize(target, Image.Resampling.BICUBIC, box=box) for plane in planes))
    inside = np.array(planes[0].crop(box))
    pixels = torch.from_numpy(inside).permute(2, 0, 1)[None]
    return interpolate(pixels, target[::-1], mode="bicubic", antialias=True)[0]


@dataclass(frozen=True)
class RoughImages(Dataset):
    """Every image whole as `WholeImages` has it, but reduced while it is decoded: for statistics of pixels."""

    images: Images
    size: tuple[int, int]

    def __getitem__(self, index: int) -> UInt8[Tensor, "channels height width"]:
        target = (self.size[1], self.size[0])
        planes, box = self.images.open_part(index, lambda size: Part(covering(size, target), target))
        return cut(planes, box, target)


@contextmanager
def drawing(seed: int, position: int) -> Iterator[None]:
    """Have torchvision draw what belongs to a position of the run; nobody else's numbers change."""
    state = np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)
    before = torch.get_rng_state()  # fork_rng and manual_seed do the same in ten times the time
    try:
        torch.default_generator.manual_seed(int(state[0]))
        yield
    finally:
        torch.set_rng_state(before)


@dataclass(frozen=True)
class RandomCrops(Dataset):
    """Random resized crops (bicubic) of `size` (height, width), with `crop_scale` the least and most share of the area;
    (1, 1) takes whole images.

    An item is (index of the image, position in the run): the crop depends on the seed and the position alone. The box
    is chosen in full resolution, however far the image is reduced to be read.
    """

    images: Images
    size: tuple[int, int]
    crop_scale: tuple[float, float]
    seed: int

    def __getitem__(self, item: tuple[int, int]) -> UInt8[Tensor, "channels height width"]:
        index, position = item
        return self.crop(self.images.source(index), position, self.images.names[index])

    def crop(self, source: Source | np.ndarray, position: int, name: str) -> UInt8[Tensor, "channels height width"]:
        """The crop at a position of the run of an image that is at hand as it is stored. Raises Unreadable."""
        planes, box = self.images.part_of(source, lambda size: self.part(size, position), name)
        return cut(planes, box, (self.size[1], self.size[0]))

    def part(self, size: Size, position: int) -> Part:
        """What the crop at a position of the run takes of an image of this size."""
        target = (self.size[1], self.size[0])
        box = covering(size, target) if self.crop_scale == (1.0, 1.0) else self.box(size, position)
        return Part(box, target)

    def box(self, size: Size, position: int) -> Box:
        """Left, top, right and bottom of the random crop at a position, in an image of this size."""
        image = torch.empty(()).expand(size[1], size[0])  # it looks at nothing but the sides
        with drawing(self.seed, position):
            top, left, height, width = RandomResizedCrop.get_params(image, list(self.crop_scale), [3 / 4, 4 / 3])  # pyright: ignore[reportArgumentType]
        return float(left), float(top), float(left + width), float(top + height)
