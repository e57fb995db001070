"""What an item of a Dataset or a list is: its image, alone, in a tuple or in a dict, and its label."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from pcae.data.files.decode import Source, reason_of
from pcae.data.files.eight_bits import MODES, Bands, from_pillow
from pcae.data.files.eight_bits import plain as without_palette
from pcae.data.files.stored import as_bands
from pcae.data.shards.columns import LABELS, is_usual, usual
from pcae.data.tables.labels import NAMES, plain

BESIDE = {"pixelvalues"}
"""What the images of dicts are called, beside what columns of images are."""
DEEP = ("I", "F")
"""How the modes of Pillow's pictures of more than 8 bits begin."""
REMEDY = "give uint8: leave ToTensor, ToDtype and Normalize out, since pcae normalises (v2.PILToTensor gives uint8)"


class WrongKind(ValueError):
    """An item whose image is there, and is nothing that pcae takes."""


@dataclass(frozen=True, eq=False)
class Items:
    """Images of an object by number, as they are stored: uint8 arrays of height x width (x channels), paths, or bytes.

    words: what messages call the object. channels: of pictures, as files have them. bands: which become the channels,
    from 1, of pictures and arrays. failed: the reasons of items that could not be read before; they are not asked for
    again.
    """

    value: Any
    words: str
    channels: int
    bands: Bands | None = None
    failed: Mapping[int, str] = field(default_factory=dict)

    def __call__(self, index: int) -> Source | np.ndarray:
        """An image. Raises ValueError, in one line, whatever the object raises; WrongKind for no image of 8 bits."""
        if index in self.failed:
            raise ValueError(self.failed[index])
        return self.stored_in(self.item(index))

    def stored_in(self, item: Any) -> Source | np.ndarray:
        """The image of an item. Raises WrongKind where it is no image of 8 bits, or lacks a band."""
        image = image_in(item)
        if isinstance(image, Image.Image):
            return of_picture(image, self.channels, self.bands)
        stored = stored_of(image)
        return stored if self.bands is None or not isinstance(stored, np.ndarray) else picked(stored, self.bands)

    def item(self, index: int) -> Any:
        """An item as the object gives it. Raises ValueError, in one line, whatever the object raises."""
        try:
            return self.value[index]
        except Exception as error:
            raise ValueError(said(error)) from error

    def __reduce__(self) -> tuple[Any, ...]:
        """What a reading process gets that does not fork. Raises ValueError, with the remedy, where that cannot be."""
        try:
            packed = pickle.dumps(self.value)
        except Exception as error:
            raise ValueError(
                f"data {self.words!r} cannot be sent to the processes that read ({said(error)}); give workers=0, or "
                "define at the top of a module what it is made of"
            ) from error
        return unpacked, (packed, self.words, self.channels, self.bands, self.failed)


def unpacked(packed: bytes, *others: Any) -> Items:
    """Items that came from another process."""
    return Items(pickle.loads(packed), *others)


def said(error: Exception) -> str:
    """What an error says, in one line: those of programs with their kind, since `'image'` alone says nothing."""
    kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
    return kind + reason_of(error)


def image_in(item: Any) -> Any:
    """The image of an item: itself, the first of a tuple or list, or what a dict has by the name of an image.

    Raises WrongKind where no name of a dict is that of one.
    """
    if isinstance(item, Mapping):
        return item[image_key(item)]
    if isinstance(item, tuple | list):
        if not item:
            raise WrongKind("the item is empty")
        return item[0]
    return item


def image_key(item: Mapping[Any, Any]) -> str:
    """The name of the image in a dict, by the rules of columns; else that of the only value that can be one."""
    names = [name for name in item if isinstance(name, str)]
    called = [name for name in names if is_usual(name) or plain(name) in BESIDE]
    held = [name for name in names if isinstance(item[name], Image.Image | Tensor | np.ndarray)]
    if called or len(held) == 1:
        return usual(called or held)
    raise WrongKind(f"the item has {', '.join(map(repr, item))}, and no image by its name; call it 'image'")


def label_in(item: Any) -> Any:
    """The label of an item: the second of a tuple or list, or what a dict has by the name of one; None without any."""
    if isinstance(item, Mapping):
        names = [name for name in item if isinstance(name, str)]
        found = [*(name for name in LABELS if name in names), *(name for name in names if plain(name) in NAMES)]
        return item[found[0]] if found else None
    return item[1] if isinstance(item, tuple | list) and len(item) > 1 else None


def has_label(item: Any) -> bool:
    """Whether there is a place for a label in an item, though it may hold None."""
    if isinstance(item, Mapping):
        return any(isinstance(name, str) and (name in LABELS or plain(name) in NAMES) for name in item)
    return isinstance(item, tuple | list) and len(item) > 1


def stored_of(image: Any) -> Source | np.ndarray:
    """An image as arrays, paths or bytes hold it. Raises WrongKind, with the remedy, for other samples or shapes."""
    if isinstance(image, str | PathLike):
        return fspath(image)
    if isinstance(image, bytes):
        return image
    if not isinstance(image, Tensor | np.ndarray):
        raise WrongKind(f"the item is {type(image).__name__}; give a PIL image, a uint8 tensor or array, or a path")
    kind = "tensor" if isinstance(image, Tensor) else "array"
    pixels = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
    if pixels.dtype != np.uint8:
        raise WrongKind(f"it is a {pixels.dtype.name} {kind}; {REMEDY}")
    if pixels.ndim not in {2, 3} or not pixels.size:
        shape = "channels x height x width" if kind == "tensor" else "height x width x channels"
        raise WrongKind(f"it is {kind} of {' x '.join(map(str, pixels.shape))}; give {shape}, or height x width")
    return pixels.transpose(1, 2, 0) if kind == "tensor" and pixels.ndim == 3 else pixels


def of_picture(image: Image.Image, channels: int, bands: Bands | None) -> np.ndarray:
    """The pixels of a picture, as those of a file of 8 bits. EXIF data turn nothing: the caller had it in hand.

    Raises WrongKind for a picture of more bits, or without the channels wanted.
    """
    if image.mode.startswith(DEEP):
        raise WrongKind(f"it is a picture of mode {image.mode}, of more than 8 bits; give its path, or mode L or RGB")
    if bands is not None:
        return picked(np.asarray(without_palette(image)), bands)
    try:
        return from_pillow(without_palette(image) if channels not in MODES else image, 1, channels)
    except ValueError as error:
        raise WrongKind(str(error)) from error


def picked(pixels: np.ndarray, bands: Bands) -> np.ndarray:
    """Some bands of an array, in the order wanted. Raises WrongKind for one that is not there."""
    found = as_bands(pixels)
    if max(bands) > found.shape[2]:
        raise WrongKind(f"it has {found.shape[2]} bands, and no band {max(bands)}; see --bands")
    return found[..., [band - 1 for band in bands]]
