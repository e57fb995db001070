"""Which files there are: folders, flat or nested, with or without splits and classes, and .txt or .csv lists."""

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcae.settings.choices import Split

SUFFIXES = frozenset(Image.registered_extensions()) - {".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".eps", ".ps"}
FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("val", "valid", "validation", "test")}
PATHS = {"path", "file", "filename", "image"}
"""Names of the column of a .csv that names files."""
LABELS = {"label", "class", "target"}
"""Names of the column of a .csv that says what they show."""


@dataclass(frozen=True)
class Listing:
    """Images in order, their names, the class of each where known, and how many other files there were, by suffix.

    root: the part that all names begin with; it says where the images lie, not which they are. classes: all that there
    may be, in order, where the source says so. channels, pixel_range: with which they were packed, where they were.
    stream: the shards that all of them are read from, where that is in order.
    """

    items: Sequence[Any] | np.ndarray  # of Source, as in Images
    names: Sequence[str]
    labels: Sequence[str] | None
    root: str
    others: Counter[str] = field(default_factory=Counter)
    classes: Sequence[str] | None = None
    channels: int | None = None
    pixel_range: tuple[float, float] | None = None
    stream: Any = None  # ShardList, which stands above


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def list_split(path: Path, split: Split, wanted: Callable[[str], bool] = is_image) -> Listing:
    """The images of a split: of its folder, of what is beside the other one's folder, or all where there are none."""
    train, test = (next((path / name for name in FOLDERS[part] if (path / name).is_dir()), None) for part in FOLDERS)
    if split == "train":
        return list_folder(train, wanted=wanted) if train else list_folder(path, test, wanted)
    return list_folder(test or train or path, wanted=wanted)


def list_folder(root: Path, without: Path | None = None, wanted: Callable[[str], bool] = is_image) -> Listing:
    """Image files below `root` but not in `without`, sorted, labelled by their first folder where all lie in folders.

    wanted: which files count, by name. Hidden files and folders are left out, linked folders are followed, each once.
    A link to nothing counts as a file, so that it is named when it cannot be read. Raises ValueError for a folder that
    cannot be listed.
    """
    files: list[str] = []
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
            if wanted(name) and (os.path.isfile(path) or is_dead_link(path)):  # noqa: PTH113
                files.append(path)
            else:
                others[os.path.splitext(name)[1].lower() or "without suffix"] += 1  # noqa: PTH122
    files.sort()
    inside = [path.removeprefix(str(root)).strip(os.sep).partition(os.sep) for path in files]
    labels = [first for first, _, _ in inside] if all(rest for _, _, rest in inside) else None
    return Listing(files, files, labels, str(root), others)


def is_dead_link(path: str) -> bool:
    """Whether this is a link to nothing, or to itself."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def refuse_folder(error: OSError) -> None:
    """Raise ValueError for a folder whose files cannot be seen."""
    raise ValueError(
        f"folder {str(error.filename)!r} cannot be listed: {error.strerror}; make it readable or use a list"
    ) from error


def read_list(path: Path) -> Listing:
    """Files named in a .txt (one a line) or .csv, relative to the list.

    A .csv has a path in the first column and a label in the second, or a header that names them (path, file, filename,
    image; label, class, target) in any order beside other columns. Labels count where every file has one.
    """
    rows, place, label = columns_of(path, rows_of(path))
    rows = [row for row in rows if len(row) > place and row[place]]
    files = [str(path.parent / row[place]) for row in rows]
    missing = next((file for file in files if not Path(file).is_file()), None)
    if missing:
        raise ValueError(f"{path} names {missing!r}, which is no file; paths are relative to the list")
    labels = [row[label] for row in rows if len(row) > label and row[label]] if label is not None else []
    labelled = bool(labels) and len(labels) == len(rows)
    return Listing(files, files, labels if labelled else None, str(path.parent))


def columns_of(path: Path, rows: list[list[str]]) -> tuple[list[list[str]], int, int | None]:
    """The rows of a list less its header, and which columns have the path and the label."""
    if path.suffix.lower() != ".csv":
        return rows, 0, None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    if not PATHS.intersection(names) or (path.parent / rows[0][0]).is_file():
        return rows, 0, 1
    place = next(column for column, name in enumerate(names) if name in PATHS)
    second = 1 if place == 0 and len(names) == 2 else None
    return rows[1:], place, next((column for column, name in enumerate(names) if name in LABELS), second)


def rows_of(path: Path) -> list[list[str]]:
    """The rows of a list, with the header. Raises ValueError when it is no text."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        if path.suffix.lower() != ".csv":
            return [[line.removesuffix("\r")] for line in text.split("\n")]
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a list of files: {error}") from error
