"""Which files there are: folders, flat or nested, with or without splits and classes."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcae.data.files.dicom import MAGIC, PREAMBLE
from pcae.data.tables.labels import Said
from pcae.settings.choices import Split
from pcae.terminal import is_main_process, warn

NEITHER = {".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".eps", ".ps"}
"""Suffixes that Pillow knows, of what it does not read by itself or as an image."""
OURS = {".jph", ".jxl", ".pam", ".fts", ".tf8", ".btf", ".heic", ".heif", ".hif", ".dcm", ".dicom"}
"""Suffixes of what is read without Pillow."""
SUFFIXES = frozenset(Image.registered_extensions()) - NEITHER | OURS
ARRAYS = {".npy", ".npz"}
"""Suffixes of arrays. Beside pictures, these are features or masks of them and no images."""
FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("val", "valid", "validation", "test")}
"""What splits are called, the first that is there counts."""
ALIKE = {"training": "train", "testing": "test"}
"""What they are called, too, where both are there: alone it may be a class."""


@dataclass(frozen=True)
class Listing:
    """Images in order, their names, the class of each where known, and how many other files there were, by suffix.

    root: the part that all names begin with, or those of several sources; it says where the images lie, not which they
    are. classes: all that there may be, in order, where the source says so. channels, pixel_range, bands: with which
    they were packed, where they were. stream: the shards that all of them are read from, where that is in order.
    unlabelled: why there are no labels, where something is said of what they show. said: that, where an image may have
    any number of labels.
    """

    items: Sequence[Any] | np.ndarray  # of Source, as in Images
    names: Sequence[str]
    labels: Sequence[str] | None
    root: str | tuple[str, ...]
    others: Counter[str] = field(default_factory=Counter)
    classes: Sequence[str] | None = None
    channels: int | None = None
    pixel_range: tuple[float, float] | None = None
    bands: tuple[int, ...] | None = None
    stream: Any = None  # ShardList, which stands above
    unlabelled: str = ""
    said: Said | None = None


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def kind_of(suffix: str) -> str:
    """A suffix with N for the numbers that files are counted with: .cam12.jpg is .camN.jpg, .mp4 stays."""
    return re.sub(r"\d+(?=.*\.)|(?<=\.)\d+$", "N", suffix)


def is_array(name: str) -> bool:
    """Whether a file's name is that of an array."""
    return os.path.splitext(name)[1].lower() in ARRAYS  # noqa: PTH122


def is_dicom(path: str) -> bool:
    """Whether this is a DICOM file by its bytes: their names often have no suffix, or end as 1.2.840.10008.1 does."""
    name, suffix = os.path.basename(path), os.path.splitext(path)[1]  # noqa: PTH119, PTH122
    if (suffix and not suffix[1:].isdecimal()) or name.upper() == "DICOMDIR":  # the latter is a list of others
        return False
    with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
        return file.read(PREAMBLE + len(MAGIC))[PREAMBLE:] == MAGIC
    return False


def list_split(path: Path, split: Split, wanted: Callable[[str], bool] | None = None) -> Listing:
    """The images of a split: of its folder, of what is beside the other one's folder, or all where there are none."""
    inside = split_folders(path)
    train, test = (next((inside[name] for name in FOLDERS[part] if name in inside), None) for part in FOLDERS)
    if train and not test:
        say_left_out(train)
    if split == "train":
        return list_folder(train, wanted=wanted) if train else list_folder(path, test, wanted)
    return list_folder(test or train or path, wanted=wanted)


@cache
def say_left_out(train: Path) -> None:
    """Remark, once, on folders beside one called train: it may be a class as they are."""
    with os.scandir(train.parent) as every:
        others = [one for one in every if one.name != train.name and not one.name.startswith(".") and one.is_dir()]
    beside = sorted(one.name for one in others if holds_images(one.path))
    if beside and is_main_process():
        warn(
            f"{str(train)!r} is taken for the training images, and {len(beside)} folders of images beside it are left "
            f"out, the first is {beside[0]!r}; rename it where it is a class"
        )


def holds_images(folder: str) -> bool:
    """Whether images lie in a folder, as far as it can be listed."""
    with suppress(OSError):
        return any(map(is_image, os.listdir(folder)))  # noqa: PTH208
    return False


def split_folders(path: Path) -> dict[str, Path]:
    """The folders of splits by what they are called (`FOLDERS`), also as Train and Testing where both splits have one.

    Raises ValueError for a folder that cannot be listed.
    """
    words = {word for part in FOLDERS.values() for word in part}
    try:
        names = sorted(name for name in os.listdir(path) if split_word(name) in words)  # noqa: PTH208
    except OSError as error:
        raise refusal(error) from error
    found = {split_word(name): path / name for name in names if (path / name).is_dir()}  # train after Train
    both = all(any(word in found for word in FOLDERS[part]) for part in FOLDERS)
    return {word: folder for word, folder in found.items() if both or folder.name == word}


def split_word(name: str) -> str:
    """What a split is called in small letters, in the words of `FOLDERS`."""
    return ALIKE.get(name.lower(), name.lower())


def list_folder(root: Path, without: Path | None = None, wanted: Callable[[str], bool] | None = None) -> Listing:
    """Image files below `root` but not in `without`, sorted, labelled by their first folder where all lie in folders.

    wanted: which files count, by name; without it, images do, DICOM files without a suffix among them, and arrays where
    there is no picture. Hidden files and folders are left out, linked folders are followed, each once.
    A link to nothing counts as a file, so that it is named when it cannot be read. Raises ValueError for a folder that
    cannot be listed.
    """
    files: list[str] = []
    arrays: list[str] = []
    others: Counter[str] = Counter()
    seen = {os.path.realpath(without)} if without else set()
    for folder, inner, names in os.walk(root, followlinks=True, onerror=refuse_folder):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to where we have been
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in (name for name in names if not name.startswith(".")):
            path = os.path.join(folder, name)  # noqa: PTH118  # a million Path objects take a gigabyte
            if (wanted or is_image)(name) and (os.path.isfile(path) or is_dead_link(path)):  # noqa: PTH113
                files.append(path)
            elif wanted is None and os.path.isfile(path) and (is_array(name) or is_dicom(path)):  # noqa: PTH113
                (arrays if is_array(name) else files).append(path)
            else:
                others[kind_of(os.path.splitext(name)[1].lower()) or "without suffix"] += 1  # noqa: PTH122
    files, left = (files, arrays) if files else (arrays, [])
    others.update(os.path.splitext(path)[1].lower() for path in left)  # noqa: PTH122
    files.sort()
    labels, unlabelled = by_first_folder(files, str(root))
    return Listing(files, files, labels, str(root), others, unlabelled=unlabelled)


def by_first_folder(files: Sequence[str], root: str) -> tuple[list[str] | None, str]:
    """The first folder of each file below the root, where all lie in folders. Else none, and where some do: how many
    do not, the first one, and what to do.
    """
    inside = [path.removeprefix(root).strip(os.sep).partition(os.sep) for path in files]
    if all(rest for _, _, rest in inside):
        return [first for first, _, _ in inside], ""
    alone = [first for first, _, rest in inside if not rest]
    if len(alone) in {0, len(inside)}:
        return None, ""
    return None, (
        f"{len(alone)} of {len(inside)} images lie in no folder of a class, the first is {alone[0]!r}; move them, or "
        "take them out"
    )


def is_dead_link(path: str) -> bool:
    """Whether this is a link to nothing, or to itself."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def refuse_folder(error: OSError) -> None:
    """Raise ValueError for a folder whose files cannot be seen."""
    raise refusal(error) from error


def refusal(error: OSError) -> ValueError:
    """Which folder, why, and what helps."""
    return ValueError(
        f"folder {str(error.filename)!r} cannot be listed: {error.strerror}; make it readable or use a list"
    )
