"""Sources of images: folders, lists and the reserved words, each image decoded, cropped and resized to uint8."""

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import RandomResizedCrop

from pcae.data import sample

Split = Literal["train", "test"]
RESERVED = {"sample": sample.sample, "fashion-mnist": sample.fashion_mnist}
SUFFIXES = frozenset(Image.registered_extensions()) - {".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".eps", ".ps"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("val", "validation", "test")}


@dataclass(frozen=True)
class Images:
    """Images that can be opened one by one.

    items: files, or uint8 arrays of height x width. names: one a image. labels: class of each, where known.
    """

    items: Sequence[Path] | np.ndarray
    names: Sequence[str]
    labels: Sequence[int] | None
    classes: Sequence[str]
    channels: int

    def __len__(self) -> int:
        return len(self.items)

    def digest(self) -> str:
        """A fingerprint of which images these are, in which order."""
        return hashlib.blake2b("\n".join(self.names).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def open(self, index: int) -> Image.Image:
        """The image, upright, with this source's channels. Raises ValueError naming a file that cannot be read."""
        item = self.items[index]
        mode = MODES[self.channels]
        if isinstance(item, np.ndarray):
            return Image.fromarray(item).convert(mode)
        try:
            with Image.open(item) as image:
                return eight_bits(ImageOps.exif_transpose(image)).convert(mode)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
            raise ValueError(f"image {str(item)!r} cannot be read: {error}") from error


def eight_bits(image: Image.Image) -> Image.Image:
    """Gray pixels of 16 bits scaled to 8, any other image as it is. Raises OSError for pixels of unknown range."""
    if not image.mode.startswith(("I", "F")):
        return image
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65_535:
        raise OSError(f"its pixels are of mode {image.mode}, whose range is unknown; save it with 8 or 16 bits")
    return Image.fromarray((pixels // 256).astype(np.uint8))


def open_images(data: str, split: Split = "train", channels: int | None = None) -> Images:
    """The images that DATA names: `sample`, `fashion-mnist`, a folder (flat or nested), a .txt or a .csv list.

    A folder with train and val (or validation, test) folders inside has those splits; else all of it is both.
    Labels are the folders under it, or the second column of a csv. Raises ValueError with the remedy.
    """
    if channels is not None and channels not in MODES:
        raise ValueError(f"channels must be one of {sorted(MODES)} for image files, got {channels}")
    if data in RESERVED:
        pixels, labels = RESERVED[data](split)
        names = [f"{data}/{split}/{index}" for index in range(len(pixels))]
        return Images(pixels, names, labels.tolist(), sample.CLASSES, channels or 1)
    path = Path(data).expanduser()
    if path.is_dir():
        files, labels = list_folder(split_folder(path, split))
    elif path.suffix.lower() in {".txt", ".csv"} and path.is_file():
        files, labels = read_list(path)
    else:
        raise ValueError(
            f"data {data!r} is neither a folder, a .txt or .csv list, nor one of {', '.join(RESERVED)}; check the path"
        )
    if not files:
        raise ValueError(f"data {data!r} holds no image files (.jpg, .png, .webp, .tif, ...)")
    classes = sorted(set(labels)) if labels else []
    ids = {name: index for index, name in enumerate(classes)}
    return Images(
        files,
        list(map(str, files)),
        [ids[name] for name in labels] if labels else None,
        classes,
        channels or 3,
    )


def split_folder(path: Path, split: Split) -> Path:
    """The folder of that split inside `path`; `path` itself where it has no splits."""
    return next((path / name for name in FOLDERS[split] if (path / name).is_dir()), path)


def list_folder(root: Path) -> tuple[list[Path], list[str] | None]:
    """Image files below `root`, sorted, and the first folder of each as its label where all lie in folders."""
    files, seen = [], set()
    for folder, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to where we have been
            inner.clear()
            continue
        seen.add(real)
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    files = sorted(path for path in files if path.suffix.lower() in SUFFIXES and path.is_file())
    parts = [path.relative_to(root).parts for path in files]
    return files, [part[0] for part in parts] if all(len(part) > 1 for part in parts) else None


def read_list(path: Path) -> tuple[list[Path], list[str] | None]:
    """Files named in a .txt (one a line) or .csv (path[,label], no header), relative to the list; and labels."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file)) if path.suffix.lower() == ".csv" else [[line.rstrip("\n")] for line in file]
    rows = [row for row in rows if row and row[0]]
    files = [path.parent / row[0] for row in rows]
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise ValueError(f"{path} names {str(missing)!r}, which is no file; paths are relative to the list")
    labelled = bool(rows) and all(len(row) > 1 for row in rows)
    return files, [row[1] for row in rows] if labelled else None


def to_tensor(image: Image.Image) -> UInt8[Tensor, "channels height width"]:
    """The pixels of an image."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class WholeImages(Dataset):
    """Every image whole: resized to cover `size` (height, width), its centre cut out; the same every time."""

    images: Images
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> UInt8[Tensor, "channels height width"]:
        image = self.images.open(index)
        if (image.height, image.width) != self.size:
            image = ImageOps.fit(image, (self.size[1], self.size[0]), Image.Resampling.BICUBIC)
        return to_tensor(image)


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
        index, position = item
        if self.crop_scale == (1.0, 1.0):
            return WholeImages(self.images, self.size)[index]
        image = self.images.open(index)
        state = np.random.SeedSequence([self.seed, position]).generate_state(1, np.uint64)
        before = torch.get_rng_state()  # fork_rng and manual_seed do the same in ten times the time
        try:
            torch.default_generator.manual_seed(int(state[0]))
            top, left, height, width = RandomResizedCrop.get_params(image, list(self.crop_scale), [3 / 4, 4 / 3])  # pyright: ignore[reportArgumentType]
        finally:
            torch.set_rng_state(before)
        box = (left, top, left + width, top + height)
        return to_tensor(image.resize((self.size[1], self.size[0]), Image.Resampling.BICUBIC, box=box))
