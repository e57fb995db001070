"""Held-out images split off those for training: by class, by group, by names and seed alone."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pcae.data.files.eight_bits import Bands, PixelRange
from pcae.data.images import Images, open_images, with_held_out
from pcae.data.tables.cells import PARQUET, TABLES
from pcae.data.tables.labelled import check_labels, check_two
from pcae.data.tables.lists import column_of
from pcae.data.tables.several_labels import with_label_sets
from pcae.settings.labels import SplitConfig
from pcae.settings.sources import Data, each, quoted
from pcae.settings.values import expand


def check_split(split: SplitConfig, validation: Data | None) -> None:
    """Raise ValueError, with the remedy, for settings that do not go together."""
    if split.val_fraction is not None and validation is not None:
        raise ValueError(
            f"val_fraction {split.val_fraction:g} and validation {quoted(validation)} both say what is held out; leave "
            "one of them out"
        )
    if split.group_column is not None and split.val_fraction is None:
        raise ValueError(f"group_column {split.group_column!r} is for --val-fraction; give it, or leave the column out")


def open_split(
    data: Data,
    split: SplitConfig,
    seed: int,
    channels: int | None = None,
    pixel_range: PixelRange | None = None,
    bands: Bands | None = None,
    multi_label: bool = False,
) -> tuple[Images, Images]:
    """Training images, and the `split.val_fraction` of them that is held out. Raises ValueError with the remedy."""
    whole = open_images(data, "train", channels, pixel_range, bands=bands, labels=True)
    if whole.stream is not None:
        raise ValueError(f"data {quoted(data)} is a stream, which has no labels; give the folder of its shards instead")
    own = open_images(with_held_out(data), "test", channels, pixel_range, bands=bands)
    if list(own.names) != list(whole.names):
        raise ValueError(
            f"data {quoted(data)} has held-out images of its own, {len(own)} of them; leave --val-fraction out, or "
            "give the training images alone"
        )
    whole = with_label_sets(whole, data) if multi_label else whole
    if not multi_label:
        check_labels(whole, data)
        check_two(whole, data)
    groups = None if split.group_column is None else groups_of(data, split.group_column)
    check_groups(whole, groups or ())
    assert split.val_fraction is not None
    held = held_out_rows(whole, split.val_fraction, seed, groups)
    train, held_out = whole.without(held), whole.without(set(range(len(whole))) - set(held))
    check_sides(train, held_out, split.val_fraction, data)
    check_classes(train, held_out)
    return train, held_out


def check_groups(images: Images, groups: Sequence[str]) -> None:
    """Raise ValueError for an image that stands in two groups: one of them would be on both sides."""
    own: dict[str, str] = {}
    for row, group in enumerate(groups):
        if own.setdefault(name := images.short(row), group) != group:
            raise ValueError(f"image {name!r} stands in two groups, {own[name]!r} and {group!r}; give it one")


def check_sides(train: Images, held_out: Images, fraction: float, data: Data) -> None:
    """Raise ValueError, with the remedy, where one side has no image, or none with a label."""
    for side, images in (("training", train), ("held-out", held_out)):
        if not len(images) or (images.label_sets is not None and not any(images.label_sets)):
            raise ValueError(
                f"val_fraction {fraction:g} of data {quoted(data)} leaves no {side} images with labels; give more "
                "images (or groups), another --seed, or --validation OTHER"
            )


def groups_of(data: Data, column: str) -> list[str]:
    """The group of each image, of the tables that DATA is. Raises ValueError for other data."""
    found: list[str] = []
    for source in each(data):
        path = expand(source)
        if path.suffix.lower() not in (*TABLES, PARQUET):
            raise ValueError(
                f"group_column {column!r} is a column of a table (.csv, .tsv, .parquet), which {source!r} is not"
            )
        found += column_of(Path(path), "train", column)
    return found


def held_out_rows(images: Images, fraction: float, seed: int, groups: Sequence[str] | None = None) -> list[int]:
    """The rows of the images that are held out, ascending.

    Of each class as many as come nearest to the fraction, at least one and not all where there are two or more; the
    same of all images together where they may show several classes. Images of a group, and of one name, stay together
    and count to the class that most of them have. Which ones follows from seed and names alone, not from the order.
    """
    units: dict[str, list[int]] = {}
    for row in range(len(images)):
        units.setdefault(groups[row] if groups is not None else images.short(row), []).append(row)
    strata: dict[int, list[str]] = {}
    for unit, rows in units.items():
        strata.setdefault(most_frequent(images, rows), []).append(unit)
    chosen = [unit for own in strata.values() for unit in nearest(units, drawn(own, seed), fraction)]
    return sorted(row for unit in chosen for row in units[unit])


def most_frequent(images: Images, rows: Sequence[int]) -> int:
    """The class that most of these images have, the first of several; 0 where they may have several."""
    if images.labels is None:
        return 0
    counts = Counter(images.labels[row] for row in rows)
    return min(counts, key=lambda label: (-counts[label], label))


def drawn(units: Sequence[str], seed: int) -> list[str]:
    """The units in an order that follows from their names and the seed."""
    start = f"{seed}/".encode()
    return sorted(units, key=lambda unit: hashlib.blake2b(start + unit.encode("utf-8", "surrogateescape")).digest())


def nearest(units: dict[str, list[int]], order: Sequence[str], fraction: float) -> Sequence[str]:
    """So many of the first units that their images come nearest to a fraction of all; of two or more, neither none
    nor all."""
    wanted, before, count = fraction * sum(len(units[unit]) for unit in order), 0, 0
    for unit in order:
        after = before + len(units[unit])
        if abs(after - wanted) >= abs(before - wanted):
            break
        before, count = after, count + 1
    return order[: min(max(count, 1), len(order) - 1)]


def check_classes(train: Images, held_out: Images) -> None:
    """Raise ValueError for a class whose images are all held out, being in groups with others."""
    if train.labels is None:
        return
    lost = set(held_out.labels or ()) - set(train.labels)
    if lost:
        name = train.classes[min(lost)]
        raise ValueError(
            f"all images of the class {name!r} are in groups that are held out; use another --seed or a smaller "
            "--val-fraction"
        )


def with_names(images: Images, path: Path, data: Data) -> Images:
    """The images that a file names, as they are called below DATA, one a line: a run's validation.txt.

    Raises ValueError for a file that cannot be read, and for a name that no image has.
    """
    try:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise ValueError(f"only {str(path)!r} cannot be read: {error.strerror}") from error
    wanted = {line.removesuffix("\r") for line in lines if line.strip()}
    shorts = [images.short(row) for row in range(len(images))]
    lost = sorted(wanted - set(shorts))
    if lost or not wanted:
        odd = f"names {lost[0]!r}, which data {quoted(data)} has not" if lost else "names no image"
        raise ValueError(f"only {str(path)!r} {odd}; give the validation.txt of a run on these data")
    return images.without([row for row, short in enumerate(shorts) if short not in wanted])
