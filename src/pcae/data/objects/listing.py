"""Objects of the caller's as listings: which split of them, their images, labels and names; one item is read."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset

from pcae.data.files.eight_bits import Bands
from pcae.data.lazy import Lazy
from pcae.data.objects.items import REMEDY, Items, WrongKind
from pcae.data.objects.labels import Labels, labels_of
from pcae.data.shards.columns import labels_of as labels_of_rows
from pcae.data.shards.hugging_face import choose, list_table
from pcae.data.tables.listing import Listing
from pcae.settings.choices import Split
from pcae.settings.given import Given
from pcae.settings.sources import Data, as_data

NAME = "{}[{}]"


def part_of(data: Given, split: Split) -> Data:
    """The part of an object that a split is: of a dict of splits one of them, else all of it."""
    if not isinstance(data.value, Mapping):
        return data
    name, part = choose(data, data.value, split)
    found = as_data(part)
    return Given(found.value, name) if isinstance(found, Given) else found


def list_object(
    data: Given, root: str, labels: bool = False, channels: int | None = None, bands: Bands | None = None
) -> Listing:
    """The images of an object, named by their number. The first item is looked at: what is no image is said at once.

    root: what is left out of the names. labels: read all items where labels stand nowhere else. channels, bands: of
    pictures and arrays. Raises ValueError, with the remedy, for an object without items, and for items that are no
    images of 8 bits.
    """
    value = data.value
    if isinstance(value, IterableDataset):
        raise ValueError(
            f"data {data!r} is an IterableDataset, whose images cannot be asked for by number; give a map-style "
            "Dataset (with __len__ and __getitem__), or write its images into shards (docs/scale.md)"
        )
    if not len(value):
        raise ValueError(f"data {data!r} is empty; give at least one image")
    names = Lazy(partial(NAME.format, data), range(len(value)))
    if isinstance(value, np.ndarray | Tensor):
        array = with_bands(as_array(value, data), bands, data)
        return Listing(array, names, None, root)
    items = Items(value, str(data), channels or 3, bands)
    datasets = sys.modules.get("datasets")  # nobody has one of its objects without it
    if datasets is None or not isinstance(value, datasets.Dataset):
        return listed(items, names, labels_of(items, len(value), first_of(items), labels), root)
    rows = value.with_format(None)
    if is_plain(value, datasets):
        return list_table(rows, datasets, data, names, root, (os.getcwd(), os.sep))  # noqa: PTH109
    first_of(items)
    each, classes, fault, said = labels_of_rows(rows, datasets)
    return listed(items, names, Labels(each, classes, fault, said=said), root)


def is_plain(rows: Any, datasets: Any) -> bool:
    """Whether rows are read as they are stored: they are images, or nothing made anything else of them."""
    kind = rows.format["type"]
    return kind is None or (kind != "custom" and any(isinstance(one, datasets.Image) for one in rows.features.values()))


def listed(items: Items, names: Lazy[str], found: Labels, root: str) -> Listing:
    """Items with their labels."""
    images = Lazy(replace(items, failed=found.failed or {}), range(len(names)))
    return Listing(images, names, found.each, root, classes=found.classes, unlabelled=found.fault, said=found.said)


def first_of(items: Items) -> Any:
    """The first item, None where the object does not give it. Raises ValueError where it has no image of 8 bits."""
    try:
        item = items.item(0)
        items.stored_in(item)
        return item
    except WrongKind as error:
        raise ValueError(f"data {items.words!r}, item 0: {error}") from error
    except ValueError:  # it counts as a file that cannot be read
        return None


def as_array(value: np.ndarray | Tensor, data: str) -> np.ndarray:
    """Images in one array of images x height x width (x channels). Raises ValueError, with the remedy, for others."""
    kind = "tensor" if isinstance(value, Tensor) else "array"
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    shape, one = " x ".join(map(str, array.shape)), array.shape[0] if kind == "tensor" else array.shape[-1]
    if array.dtype != np.uint8:
        remedy = REMEDY if array.dtype.kind in "fiu" else f"give lists: {kind}.tolist()"
        raise ValueError(f"data {data!r} is {kind} of {array.dtype.name}; {remedy}")
    if array.ndim not in {3, 4} or not array.size:
        raise ValueError(f"data {data!r} is {kind} of {shape}; give images x height x width, with channels or without")
    if array.ndim == 3 and one in {1, 3, 4}:
        raise ValueError(
            f"data {data!r} is {kind} of {shape}, which may be one image or many gray ones; give {kind}[None] for one, "
            f"{'tensor[:, None]' if kind == 'tensor' else 'array[..., None]'} for many"
        )
    return array.transpose(0, 2, 3, 1) if kind == "tensor" and array.ndim == 4 else array


def with_bands(array: np.ndarray, bands: Bands | None, data: str) -> np.ndarray:
    """Images of one array, some of their bands alone. Raises ValueError for a band that is not there."""
    if bands is None:
        return array
    four = array if array.ndim == 4 else array[..., None]
    if max(bands) > four.shape[3]:
        raise ValueError(f"data {data!r} has {four.shape[3]} bands, and no band {max(bands)}; give other bands")
    return four[..., [band - 1 for band in bands]]
