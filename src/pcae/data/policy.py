"""Crops as supervised training wants them: distorted and partly erased by timm, by seed and position alone."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from timm.data.auto_augment import augment_and_mix_transform, auto_augment_transform, rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from pcae.data.augment import Normalise
from pcae.data.crops import RandomCrops, to_picture, to_tensor
from pcae.data.files.eight_bits import MODES
from pcae.data.files.stored import as_bands
from pcae.settings.bounds import check_bounds
from pcae.settings.reading import PolicyConfig

Distortion = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class AugmentedCrops(RandomCrops):
    """Random resized crops, then the policy. mean, std: of the data by channel, for what fills and erases."""

    policy: PolicyConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __getitem__(self, item: tuple[int, int]) -> UInt8[Tensor, "channels height width"]:
        pixels, distort, erase = super().__getitem__(item), self.distort, self.eraser
        with seeded(self.seed, item[1]):
            if distort is not None:
                pixels = to_tensor(as_bands(np.asarray(distorted(to_picture(pixels), distort))))
            return erase(pixels) if random.random() < self.policy.erasing else pixels

    @cached_property
    def distort(self) -> Distortion | None:
        """The policy's distortions of a picture."""
        return distortion(self.policy, self.mean, min(self.size))

    @cached_property
    def eraser(self) -> "Eraser":
        """What puts noise in a random rectangle."""
        return Eraser(Normalise(list(self.mean), list(self.std), self.images.channels))


class Eraser:
    """Noise of the data's mean and deviation in a random rectangle of 8-bit pixels, by timm."""

    def __init__(self, normalise: Normalise) -> None:
        self.normalise = normalise
        self.erase = RandomErasing(probability=1.0, mode="pixel", device="cpu")

    def __call__(self, pixels: UInt8[Tensor, "channels height width"]) -> UInt8[Tensor, "channels height width"]:
        """The pixels, some of them erased."""
        erased = self.erase(self.normalise(pixels[None])[0])
        mean, std = (self.normalise.get_buffer(name) for name in ("mean", "std"))
        return ((erased * std + mean) * 255).round().clamp(0, 255).byte()


def distorted(picture: Image.Image, distort: Distortion) -> Image.Image:
    """The picture distorted; as it is where timm posterises to 0 bits, which Pillow 13 refuses (about 1 in 700)."""
    try:
        return distort(picture)
    except ValueError:
        return picture


@contextmanager
def seeded(seed: int, position: int) -> Iterator[None]:
    """The library's generators, which timm draws from, as seed and position alone decide; then as they were."""
    first, second, third = np.random.SeedSequence([seed, position, 2]).generate_state(3).tolist()
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(first)
        np.random.seed(second)
        torch.default_generator.manual_seed(third)
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def distortion(policy: PolicyConfig, mean: tuple[float, ...], side: int) -> Distortion | None:
    """timm's policy of that name for images of `side` pixels. Raises ValueError for an unknown one."""
    name = policy.auto_augment
    if name == "none":
        return None
    fill = tuple(min(255, round(255 * value)) for value in mean)
    options = {"translate_const": int(side * 0.45), "img_mean": fill, "interpolation": Image.Resampling.BICUBIC}
    makers = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}
    make = makers.get(name.split("-")[0], auto_augment_transform)
    try:
        return make(name, options)
    except (AssertionError, ValueError, KeyError, IndexError) as error:
        raise ValueError(
            f"auto_augment {name!r} is no policy of timm's; try rand-m9-mstd0.5-inc1, or none for none"
        ) from error


def check_policy(policy: PolicyConfig, channels: int) -> None:
    """Raise ValueError for values that cannot be, or do not fit the images."""
    check_bounds(policy)
    distorts = distortion(policy, (0.5,) * channels, 32) is not None
    if distorts and channels not in MODES:
        raise ValueError(
            f"auto_augment {policy.auto_augment!r} is for gray or colour, not {channels} channels; "
            "use --auto-augment none"
        )
