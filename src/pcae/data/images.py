"""Sources of images: files and the reserved words, each image decoded, cropped and resized to uint8."""

import difflib
import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import RandomResizedCrop

from pcae.data import sample
from pcae.data.decode import PixelRange, Planes, decode, from_pillow
from pcae.data.listing import Split, list_data
from pcae.settings import expand

RESERVED = {"sample": sample.sample, "fashion-mnist": sample.fashion_mnist}


@dataclass(frozen=True)
class Images:
    """Images that can be opened one by one.

    items: files, or uint8 arrays of height x width. names: one an image, a file's path. labels: class of each,
    where known. root: what all names begin with. pixel_range: values of 16-bit and float pixels that become 0 and 255.
    others: files beside them that are no images, by suffix.
    """

    items: Sequence[str] | np.ndarray
    names: Sequence[str]
    labels: Sequence[int] | None
    classes: Sequence[str]
    channels: int
    root: str = ""
    pixel_range: PixelRange | None = None
    others: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def digest(self) -> str:
        """A fingerprint of which images these are, in which order, wherever they lie."""
        names = "\n".join(self.short(index) for index in range(len(self)))
        return hashlib.blake2b(names.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def short(self, index: int) -> str:
        """The name of an image below the folder that all lie in: it stays when the data move."""
        return self.names[index].removeprefix(self.root).lstrip("/\\")

    def without(self, indices: Container[int]) -> "Images":
        """The images but those at these indices."""
        rows = [row for row in range(len(self)) if row not in indices]
        if len(rows) == len(self):
            return self
        items = self.items[rows] if isinstance(self.items, np.ndarray) else [self.items[row] for row in rows]
        labels = [self.labels[row] for row in rows] if self.labels is not None else None
        return replace(self, items=items, names=[self.names[row] for row in rows], labels=labels)

    def open(self, index: int) -> Planes:
        """The image, upright, with this source's channels. Raises Unreadable naming a file that cannot be read."""
        item = self.items[index]
        if isinstance(item, np.ndarray):
            return from_pillow(Image.fromarray(item), self.channels, None)
        return decode(str(item), self.channels, self.pixel_range)


def open_images(
    data: str, split: Split = "train", channels: int | None = None, pixel_range: PixelRange | None = None
) -> Images:
    """The images that DATA names: `sample`, `fashion-mnist`, a folder (flat or nested), a .txt or a .csv list.

    A folder with train and val (or valid, validation, test) folders inside has those splits; with one of them, train is
    the rest or test the same; without, all of it is both.
    Labels are the folders under it, or the second column of a csv. Raises ValueError with the remedy.
    """
    if channels is not None and channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    if pixel_range is not None and not pixel_range[0] < pixel_range[1]:
        raise ValueError(f"pixel_range must be two values, black below white, got {pixel_range}")
    if data in RESERVED:
        return reserved(data, split, channels or 1)
    near = difflib.get_close_matches(data, RESERVED, n=1)
    if near and not expand(data).exists():
        raise ValueError(
            f"data {data!r} is neither a folder, a .txt or .csv list, nor a word; did you mean {near[0]!r}?"
        )
    found = list_data(data, split)
    classes = sorted(set(found.labels or []))
    ids = {name: index for index, name in enumerate(classes)}
    labels = [ids[name] for name in found.labels] if found.labels else None
    return Images(found.files, found.files, labels, classes, channels or 3, found.root, pixel_range, found.others)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spread, the first and the last among them."""
    return torch.linspace(0, count - 1, min(most, count)).long().tolist()


def reserved(word: str, split: Split, channels: int) -> Images:
    """The gray images of a reserved word. Raises ValueError for channels that gray cannot be turned into."""
    if channels not in {1, 3, 4}:
        raise ValueError(f"channels must be 1, 3 or 4 for {word!r}, got {channels}")
    pixels, labels = RESERVED[word](split)
    names = [f"{word}/{split}/{index}" for index in range(len(pixels))]
    return Images(pixels, names, labels.tolist(), sample.CLASSES, channels)


def to_tensor(planes: Planes) -> UInt8[Tensor, "channels height width"]:
    """The pixels of an image."""
    pixels = [torch.from_numpy(np.array(plane)) for plane in planes]
    return torch.stack(pixels) if pixels[0].ndim == 2 else pixels[0].permute(2, 0, 1).contiguous()


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


@dataclass(frozen=True)
class RandomCrops(Dataset):
    """Random resized crops (bicubic) of `size` (height, width), with `crop_scale` the least and most share of the area;
    (1, 1) takes whole images.

    An item is (index of the image, position in the run): the crop depends on the seed and the position alone.
    """

    images: Images
    size: tuple[int, int]
    crop_scale: tuple[float, float]
    seed: int

    def __getitem__(self, item: tuple[int, int]) -> UInt8[Tensor, "channels height width"]:
        return to_tensor(self.crop(*item))

    def crop(self, index: int, position: int) -> Planes:
        """The crop as a picture."""
        planes, target = self.images.open(index), (self.size[1], self.size[0])
        if self.crop_scale == (1.0, 1.0):
            return fit(planes, target)
        box = self.box(planes[0], position)
        return tuple(plane.resize(target, Image.Resampling.BICUBIC, box=box) for plane in planes)

    def box(self, image: Image.Image, position: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the crop at a position of the run."""
        state = np.random.SeedSequence([self.seed, position]).generate_state(1, np.uint64)
        before = torch.get_rng_state()  # fork_rng and manual_seed do the same in ten times the time
        try:
            torch.default_generator.manual_seed(int(state[0]))
            top, left, height, width = RandomResizedCrop.get_params(image, list(self.crop_scale), [3 / 4, 4 / 3])  # pyright: ignore[reportArgumentType]
        finally:
            torch.set_rng_state(before)
        return (left, top, left + width, top + height)
