"""Several sources as one: their images one after the other, with names, labels and splits of each."""

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import accumulate, chain
from typing import Any

import numpy as np

from pcae.data.lazy import Lazy
from pcae.data.tables.labels import Said, listed
from pcae.data.tables.listing import Listing
from pcae.settings.choices import Split
from pcae.settings.sources import Data, each, quoted

ListOne = Callable[[str, Split], Listing]
"""What lists the images of a split of one source."""


def element(parts: Sequence[Sequence[Any] | np.ndarray], ends: Sequence[int], place: int) -> Any:
    """What stands at a place of several sequences in a row; `ends` says where each ends."""
    part = bisect_right(ends, place)
    return parts[part][place - (ends[part - 1] if part else 0)]


def chained(parts: Sequence[Sequence[Any] | np.ndarray]) -> Lazy[Any]:
    """Several sequences as one, of which nothing is copied."""
    ends = list(accumulate(len(part) for part in parts))
    return Lazy(partial(element, parts, ends), range(ends[-1]))


def list_several(data: Data, split: Split, list_one: ListOne) -> Listing:
    """The images of a split of several sources. The classes are those of all, by name.

    Labels count where every source has some. Raises ValueError for a stream, for an image that is named twice, for
    held-out images of some sources alone, and for what was packed differently.
    """
    list_one = cache(list_one)  # listing reads the headers of shards
    with_some = held_out_of(data, list_one) if split == "test" else data
    if with_some != data:
        without = tuple(source for source in each(data) if source not in each(with_some))
        raise ValueError(
            f"data {quoted(without)} has no held-out images and {quoted(with_some)} has; give {quoted(with_some)} "
            "alone, or --split train"
        )
    sources, found = each(data), [list_one(source, split) for source in each(data)]
    stream = next((source for source, one in zip(sources, found, strict=True) if one.stream is not None), None)
    if stream is not None:
        raise ValueError(
            f"data {stream!r} is a stream, which is read alone; write one index of all shards (pcae index)"
        )
    check_once([one.names for one in found], data)
    bare = next(((source, one) for source, one in zip(sources, found, strict=True) if one.labels is None), None)
    labels = None if bare else list(chain.from_iterable(one.labels or () for one in found))
    channels, pixel_range, bands = read_alike(found, data)
    return Listing(
        chained([one.items for one in found]),
        chained([one.names for one in found]),
        labels,
        tuple(str(one.root) for one in found),
        sum((one.others for one in found), Counter()),
        classes_of(found),
        channels,
        pixel_range,
        bands=bands,
        unlabelled=f"{bare[0]!r} has none{f' ({bare[1].unlabelled})' if bare[1].unlabelled else ''}" if bare else "",
        said=said_by(found),
    )


def said_by(found: Sequence[Listing]) -> Said | None:
    """What all sources say of each image; None where one of them says nothing."""
    there = [one.said or Said(one.labels or (), "images", declared=True) for one in found]
    if not all(said.labels for said in there):
        return None
    labels = [listed(label, said.declared) for said in there for label in said.labels]
    remarks = dict.fromkeys(said.remark for said in there if said.remark)
    return Said(labels, there[0].what, all(said.declared for said in there), "; ".join(remarks))


def held_out_of(data: Data, list_one: ListOne) -> Data:
    """The sources that have held-out images of their own, among several; all, where none or each of them has."""
    if isinstance(data, str):
        return data
    apart = tuple(source for source in data if has_held_out(source, list_one))
    return data if len(apart) in {0, len(data)} else apart[0] if len(apart) == 1 else apart


def has_held_out(source: str, list_one: ListOne) -> bool:
    """Whether a source has held-out images of its own."""
    train, test = list_one(source, "train"), list_one(source, "test")
    return list(train.names) != list(test.names)


def check_once(parts: Sequence[Sequence[str]], data: Data) -> None:
    """Raise ValueError for an image that two sources name."""
    keys = [np.unique(np.fromiter(map(hash, places_of(names)), np.int64, len(names))) for names in parts]
    found, counts = np.unique(np.concatenate(keys), return_counts=True)
    twice = set(found[counts > 1].tolist())
    if twice:
        pairs = ((name, place) for names in parts for name, place in zip(names, places_of(names), strict=True))
        name = next(name for name, place in pairs if hash(place) in twice)
        raise ValueError(f"data {quoted(data)} have {name!r} twice; take one source out, so that it is seen once")


def places_of(names: Iterable[str]) -> Iterator[str]:
    """Where images lie, however their folders are named: without links, `.` and `..`."""
    real: dict[str, str] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        yield f"{real[folder]}/{file}"


def classes_of(found: Sequence[Listing]) -> Sequence[str] | None:
    """The order of the classes, where one source says it and has all of them."""
    every = set(chain.from_iterable(one.classes or set(one.labels or ()) for one in found))
    return next((one.classes for one in found if one.classes is not None and set(one.classes) == every), None)


def read_alike(
    found: Sequence[Listing], data: Data
) -> tuple[int | None, tuple[float, float] | None, tuple[int, ...] | None]:
    """Channels, pixel range and bands that packed and built-in images among others have; gray and colour are read as
    colour.

    Raises ValueError where they differ otherwise.
    """
    packed = [one for one in found if one.channels is not None]
    channels, ways = {one.channels or 3 for one in found}, {(one.pixel_range, one.bands) for one in packed}
    if not packed:
        return None, None, None
    if len(ways) > 1 or not (len(channels) == 1 or channels <= {1, 3}):
        raise ValueError(
            f"data {quoted(data)} were packed with other channels, pixel ranges or bands; pack all of them alike"
        )
    return max(channels), *next(iter(ways))
