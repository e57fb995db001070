"""A transform of the caller's in place of our crops: what it is given, what it may give back, and what seeds it."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from pcae.data.crops import RandomCrops, picture_of, seed_at, to_tensor
from pcae.data.files.decode import Source, Unreadable, whole
from pcae.data.files.eight_bits import MODES, EightBits
from pcae.data.files.stored import as_bands
from pcae.data.images import Images
from pcae.data.objects.items import REMEDY
from pcae.data.packed.reading import from_array
from pcae.data.policy import seeded
from pcae.settings.given import Given
from pcae.terminal import console

Transform = Callable[..., Any]
MOST_TRIES = 10
"""Images on which a transform is tried before a run, until one can be read."""
OURS = (1.0, 1.0)
"""The share of the area that our crops take before a transform: all of it."""


@dataclass(frozen=True)
class Transformed(RandomCrops):
    """What a transform makes of whole images: views of `size`, in place of random crops.

    It is given a PIL image where there are 1 or 3 channels, else a uint8 tensor of channels x height x width; one of
    albumentations' shape of call, a uint8 array of height x width x channels by the name `image`. The generators of
    torch, NumPy and Python begin for every view as seed and position say, and albumentations' own too.
    """

    transform: Transform

    def crop(self, source: Source | np.ndarray, position: int, name: str) -> UInt8[Tensor, "channels height width"]:
        """The view at a position of the run of an image that is at hand as it is stored.

        Raises Unreadable for the image, and ValueError, with the remedy, for what the transform makes of it.
        """
        pixels = self.images.part_of(source, whole, name).pixels
        with seeded(self.seed, position):
            try:
                made = self.call(pixels, seed_at(self.seed, position) % 2**32)
            except Exception as error:
                kind = type(error).__name__
                raise ValueError(f"transform fails on {name!r}: {kind}: {' '.join(str(error).split())}") from error
        return as_pixels(made, self.images.channels, self.size)

    def call(self, pixels: EightBits, seed: int) -> Any:
        """What the transform makes of an image's pixels."""
        if self.by_name:
            own = getattr(self.transform, "set_random_seed", None)  # albumentations draws from generators of its own
            if own is not None:
                own(seed)
            return self.transform(image=np.array(pixels))
        return self.transform(picture_of(pixels) if pixels.shape[2] in MODES else to_tensor(pixels))

    @cached_property
    def by_name(self) -> bool:
        """Whether the transform takes its image by the name `image`, and an array."""
        return albumentations(self.transform) or keyword_only(self.transform)


def albumentations(transform: Transform) -> bool:
    """Whether a transform is one of the package albumentations."""
    classes = inspect.getmro(type(transform))
    return any(cls.__module__.partition(".")[0] == "albumentations" for cls in classes)


def keyword_only(transform: Transform) -> bool:
    """Whether a callable takes `image` by this name alone."""
    try:
        image = inspect.signature(transform).parameters.get("image")
    except ValueError:  # one in C, which does not say
        return False
    return image is not None and image.kind == inspect.Parameter.KEYWORD_ONLY


def as_pixels(made: Any, channels: int, size: tuple[int, int]) -> UInt8[Tensor, "channels height width"]:
    """The pixels of what a transform gave back. Raises ValueError, with the remedy, for what is no image of 8 bits, of
    these channels and this size.
    """
    if isinstance(made, Mapping):
        made = made.get("image")
    if not isinstance(made, Image.Image | Tensor | np.ndarray):
        raise ValueError(f"transform gives {type(made).__name__}; it has to give a PIL image, a uint8 tensor or array")
    pixels = made.detach().cpu().numpy() if isinstance(made, Tensor) else np.asarray(made)
    if pixels.dtype != np.uint8:
        raise ValueError(f"transform gives {pixels.dtype.name}; {REMEDY}")
    if pixels.ndim not in {2, 3}:
        raise ValueError(f"transform gives {' x '.join(map(str, pixels.shape))}; it has to give one image")
    pixels = as_bands(pixels.transpose(1, 2, 0) if isinstance(made, Tensor) and pixels.ndim == 3 else pixels)
    if pixels.shape[:2] != size:
        wanted, got = (" x ".join(map(str, sides)) for sides in (size, pixels.shape[:2]))
        raise ValueError(
            f"transform gives {got} pixels, and the model takes {wanted}; end it with Resize(({size[0]}, {size[1]})), "
            f"or give image_size=({pixels.shape[0]}, {pixels.shape[1]})"
        )
    try:
        return to_tensor(from_array(pixels, channels))
    except ValueError as error:
        raise ValueError(f"transform gives other channels than its image: {error}") from error


def transform_of(given: str | None) -> Transform | None:
    """The transform that settings carry. Raises ValueError for the words of one, which no file can hold."""
    if given is not None and not isinstance(given, Given):
        raise ValueError(f"transform {given!r} is an object of Python's; give it to pcae.pretrain or pcae.finetune")
    return None if given is None else given.value


def try_out(images: Images, size: tuple[int, int], seed: int, transform: Transform) -> Transformed:
    """Views of images by a transform, which is tried on the first image that can be read.

    Raises ValueError, with the remedy, for what it makes of it.
    """
    views = Transformed(images, size, OURS, seed, transform)
    for index in images.some(MOST_TRIES):
        with suppress(Unreadable):
            views[index, 0]
            break
    return views


def say_replaced(transform: str | None) -> None:
    """Print what a transform stands in place of, and what of the seed holds then."""
    if transform is not None:
        console.print(
            f"transform in place of crops, mirroring and what else is done to images: {transform}. The same seed gives "
            "the same views, of a run that goes on too, where it draws from the generators of torch, NumPy and Python "
            "alone, or from albumentations'; else not"
        )
