"""The images that DATA names: files, shards, packed ones, reserved words and objects, each opened when asked for."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pcae.data import sample
from pcae.data.files.decode import Unreadable, check_pixel_range, whole
from pcae.data.files.eight_bits import MODES, Bands, PixelRange
from pcae.data.objects.listing import list_object, part_of
from pcae.data.opened import Images
from pcae.data.packed.reading import as_packed
from pcae.data.several import ListOne, held_out_of, list_several
from pcae.data.shards.hugging_face import PREFIX
from pcae.data.sources import list_data
from pcae.data.tables.labels import may_be_several
from pcae.data.tables.listing import Listing
from pcae.settings.choices import Split
from pcae.settings.given import Given
from pcae.settings.sources import Data, as_data, given_in, quoted
from pcae.settings.values import expand

RESERVED = {"sample": sample.sample, "fashion-mnist": sample.fashion_mnist}


def open_images(
    data: Any,
    split: Split = "train",
    channels: int | None = None,
    pixel_range: PixelRange | None = None,
    stream: bool = False,
    bands: Bands | None = None,
    labels: bool = False,
) -> Images:
    """The images that DATA names: `sample`, `fashion-mnist`, a folder (flat or nested) of images or of WebDataset
    shards, a packed folder, a .txt, .csv or .tsv list, an image, a .tar or a pattern of them, `hf:NAME`, a Hugging Face
    data set, or the .json index of shards, which are read in order: a stream. stream: so are other shards. A list or
    tuple of these are all of them, one after the other.

    DATA may hold images, too: a map-style Dataset of torch's or of Hugging Face's, a list of images, one uint8 array of
    images x height x width (x channels), other `Images`, or a dict of these by split. An item is a PIL image, a uint8
    tensor of (channels x) height x width, a uint8 array of height x width (x channels), a path, or a tuple or dict with
    one of these and a label. The first item is looked at, nothing else is read before it is asked for. labels: read all
    items of a Dataset for its labels, where its `targets` do not say them.

    A folder with train and val (or valid, validation, test) folders inside, or shards so named, has those splits; with
    one of them, train is the rest or test the same; without, all of it is both.
    Labels are the folders under it, a column of a csv, or what shards and data sets say. Raises ValueError with the
    remedy.
    """
    if channels is not None and channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    check_pixel_range(pixel_range)
    channels, data = channels_of(channels, bands), as_data(data)
    if isinstance(data, str) and data in RESERVED and not stream:
        return reserved(data, split, channels or 1, bands)
    if isinstance(data, Given) and isinstance(data.value, Images):
        return reopened(data, data.value, channels, pixel_range, bands)
    list_one = partial(list_source, stream=stream, labels=labels, channels=channels, bands=bands)
    found = list_one(data, split) if isinstance(data, str) else list_several(data, split, list_one)
    channels, pixel_range, bands = as_packed(quoted(data), found, channels, pixel_range, bands)
    images = as_images(found, channels, pixel_range, bands)
    if given_in(data):
        check_channels(images, data)
    return images


def as_images(found: Listing, channels: int | None, pixel_range: PixelRange | None, bands: Bands | None) -> Images:
    """A listing with its labels by the place of their class."""
    classes = found.classes or in_order(set(found.labels or []))
    ids = {name: index for index, name in enumerate(classes)}
    numbers = [ids[name] for name in found.labels] if found.labels else None
    said = found.said if numbers is None or any(map(may_be_several, classes)) else None  # else labels say it all
    channels = channels or usual_channels(found.items)
    return Images(
        found.items, found.names, numbers, classes, channels, found.root, pixel_range, found.others, found.stream,
        found.unlabelled, bands, said,
    )  # fmt: skip


def list_source(
    data: str,
    split: Split,
    stream: bool = False,
    labels: bool = False,
    channels: int | None = None,
    bands: Bands | None = None,
) -> Listing:
    """The images of a split of one source, a reserved word or an object among others. Raises ValueError with the
    remedy. labels, channels, bands: of objects, as in `open_images`.
    """
    if isinstance(data, Given):
        if stream:
            raise ValueError(f"data {data!r} is no stream, which shards are; leave stream out")
        list_one = partial(list_source, labels=labels, channels=channels, bands=bands)
        return list_given(data, split, list_one, partial(list_object, labels=labels, channels=channels, bands=bands))
    if data in RESERVED and not stream:
        pixels, numbers = RESERVED[data](split)
        names = [f"{data}/{split}/{index}" for index in range(len(pixels))]
        words = [sample.CLASSES[number] for number in numbers]
        return Listing(pixels, names, words, "", classes=sample.CLASSES, channels=1)
    near = difflib.get_close_matches(data, RESERVED, n=1)
    if near and not stream and not data.startswith(PREFIX) and not expand(data).exists():
        raise ValueError(f"data {data!r} is neither a folder, a file, nor a word; did you mean {near[0]!r}?")
    return list_data(data, split, stream)


def list_given(data: Given, split: Split, list_one: ListOne, list_items: Callable[[Given, str], Listing]) -> Listing:
    """The images of a split of an object; of a dict, of what it has for the split, which may be a path, too."""
    part = part_of(data, split)
    if not isinstance(part, Given):
        return list_one(part, split) if isinstance(part, str) else list_several(part, split, list_one)
    if not isinstance(part.value, Images):
        return list_items(part, str(data))
    images = part.value
    words = None if images.labels is None else [images.classes[label] for label in images.labels]
    return Listing(
        images.items, images.names, words, images.root, Counter(images.others), images.classes or None, images.channels,
        images.pixel_range, images.bands, images.stream, images.unlabelled, said=images.said,
    )  # fmt: skip


def reopened(
    data: Given, images: Images, channels: int | None, pixel_range: PixelRange | None, bands: Bands | None
) -> Images:
    """Images with the channels that are asked for. Raises ValueError where they were opened otherwise."""
    for name, asked, own in (("pixel_range", pixel_range, images.pixel_range), ("bands", bands, images.bands)):
        if asked not in (None, own):
            raise ValueError(f"data {data!r} was opened with {name} {own}, not {asked}; open it with {name}={asked}")
    images = replace(images, channels=channels or images.channels)
    check_channels(images, data)
    return images


def check_channels(images: Images, data: Data) -> None:
    """Raise ValueError, with the remedy, where already the first image, an array, has other channels."""
    with suppress(Unreadable):
        source = images.source(0)
        try:
            images.part_of(source, whole, images.names[0]) if isinstance(source, np.ndarray) else None
        except Unreadable as error:
            raise ValueError(f"data {quoted(data)}, item 0: {error.reason}") from error


def usual_channels(items: Sequence[Any] | np.ndarray) -> int:
    """The channels of images of which nobody says them: those of an array, else colours."""
    return (items.shape[3] if items.ndim == 4 else 1) if isinstance(items, np.ndarray) else 3


def with_held_out(data: Data) -> Data:
    """The sources that have held-out images of their own, among several; all, where none or each of them has."""
    return held_out_of(data, list_source)


def channels_of(channels: int | None, bands: Bands | None) -> int | None:
    """The channels that are asked for, as many as there are bands where these are.

    Gray and colour serve for one another. Raises ValueError for bands that cannot be, and another number of channels.
    """
    if bands is None:
        return channels
    if not bands or min(bands) < 1:
        raise ValueError(f"bands must be one or more numbers from 1, got {list(bands)}")
    if channels not in (None, len(bands)) and not {channels, len(bands)} <= MODES.keys():
        raise ValueError(f"channels {channels} and {len(bands)} bands are asked for; leave --channels out")
    return channels or len(bands)


def in_order(classes: Iterable[str]) -> list[str]:
    """Classes by alphabet, or by value where all are numbers: 2 before 10."""
    names = sorted(classes)
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def reserved(word: str, split: Split, channels: int, bands: Bands | None = None) -> Images:
    """The gray images of a reserved word. Raises ValueError for channels that gray cannot be turned into."""
    if bands is not None and max(bands) > 1:
        raise ValueError(f"data {word!r} has 1 band, and no band {max(bands)}; leave --bands out")
    if channels not in {1, 3, 4}:
        raise ValueError(f"channels must be 1, 3 or 4 for {word!r}, got {channels}")
    pixels, labels = RESERVED[word](split)
    names = [f"{word}/{split}/{index}" for index in range(len(pixels))]
    return Images(pixels, names, labels.tolist(), sample.CLASSES, channels)
