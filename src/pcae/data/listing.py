"""Which files DATA names: folders, flat or nested, with or without splits and classes, and .txt or .csv lists."""

import csv
import io
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image

from pcae.settings import expand

Split = Literal["train", "test"]
SUFFIXES = frozenset(Image.registered_extensions()) - {".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".eps", ".ps"}
FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("val", "valid", "validation", "test")}
HEADERS = {"path", "file", "filename", "image"}


@dataclass(frozen=True)
class Listing:
    """Image files in order, the class of each where known, and how many other files there were, by suffix.

    root: the part that all names begin with; it says where the files lie, not which they are.
    """

    files: list[str]
    labels: list[str] | None
    root: str
    others: Counter[str] = field(default_factory=Counter)


def list_data(data: str, split: Split) -> Listing:
    """The files of a folder or a list. Raises ValueError with the remedy when there are none."""
    path = expand(data)
    if path.is_dir():
        found = list_split(path, split)
    elif path.suffix.lower() in {".txt", ".csv"} and path.is_file():
        found = read_list(path)
    else:
        raise ValueError(f"data {data!r} is neither a folder nor a .txt or .csv list; check the path")
    if not found.files:
        others = ", ".join(f"{count} {suffix}" for suffix, count in found.others.most_common(3))
        raise ValueError(
            f"data {data!r} holds no image files (.jpg, .png, .webp, .tif, ...)" + (f", but {others}" if others else "")
        )
    return found


def list_split(path: Path, split: Split) -> Listing:
    """The images of a split: of its folder, of what is beside the other one's folder, or all where there are none."""
    train, test = (next((path / name for name in FOLDERS[part] if (path / name).is_dir()), None) for part in FOLDERS)
    if split == "train":
        return list_folder(train) if train else list_folder(path, without=test)
    return list_folder(test or train or path)


def list_folder(root: Path, without: Path | None = None) -> Listing:
    """Image files below `root` but not in `without`, sorted, labelled by their first folder where all lie in folders.

    Hidden files and folders are left out, linked folders are followed, each once. A link to nothing counts as a
    file, so that it is named when it cannot be read. Raises ValueError for a folder that cannot be listed.
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
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if suffix in SUFFIXES and (os.path.isfile(path) or is_dead_link(path)):  # noqa: PTH113
                files.append(path)
            else:
                others[suffix or "without suffix"] += 1
    files.sort()
    inside = [path.removeprefix(str(root)).strip(os.sep).partition(os.sep) for path in files]
    labels = [first for first, _, _ in inside] if all(rest for _, _, rest in inside) else None
    return Listing(files, labels, str(root), others)


def is_dead_link(path: str) -> bool:
    """Whether this is a link to nothing, or to itself."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def refuse_folder(error: OSError) -> None:
    """Raise ValueError for a folder whose files cannot be seen."""
    raise ValueError(
        f"folder {str(error.filename)!r} cannot be listed: {error.strerror}; make it readable or use a list"
    ) from error


def read_list(path: Path) -> Listing:
    """Files named in a .txt (one a line) or .csv (path[,label], with or without a header), relative to the list."""
    rows = [row for row in rows_of(path) if row and row[0]]
    files = [str(path.parent / row[0]) for row in rows]
    missing = next((file for file in files if not Path(file).is_file()), None)
    if missing:
        raise ValueError(f"{path} names {missing!r}, which is no file; paths are relative to the list")
    labelled = bool(rows) and all(len(row) > 1 for row in rows)
    return Listing(files, [row[1] for row in rows] if labelled else None, str(path.parent))


def rows_of(path: Path) -> list[list[str]]:
    """The rows of a list, less a header. Raises ValueError when it is no text."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        if path.suffix.lower() != ".csv":
            return [[line.removesuffix("\r")] for line in text.split("\n")]
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a list of files: {error}") from error
    headed = bool(rows) and bool(rows[0]) and rows[0][0].strip().lower() in HEADERS
    return rows[1:] if headed else rows
