"""Hugging Face data sets, `hf:NAME`: the rows of a split whose images we decode ourselves."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pcae.data.lazy import Lazy
from pcae.data.shards.columns import image_column, image_of, labels_of, path_below
from pcae.data.shards.tar import list_shards
from pcae.data.tables.listing import Listing
from pcae.settings.choices import Split
from pcae.settings.values import expand

PREFIX = "hf:"
SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("validation", "valid", "val", "test")}
"""Names of the splits, the first that is there counts."""
SAVED = ("dataset_dict.json", "state.json")
"""What stands in a folder that `save_to_disk` wrote."""
PACKAGES = {"lance": "pylance"}
"""What modules are called where they are installed, if otherwise."""


def list_rows(data: str, split: Split) -> Listing:
    """The images of `hf:NAME`, `hf:NAME:CONFIG` or `hf:FOLDER`, by their column (`image_column`); of tars, as
    `list_shards` has them.

    Labels are the names of a ClassLabel, else what a column of labels has (`labels_of`). Raises ValueError in one line
    for what cannot be loaded or holds no images.
    """
    datasets = package()
    name, rows = choose(data, load(datasets, data), split)
    if isinstance(rows, list):
        return list_shards(rows, os.path.commonpath([os.path.dirname(path) for path in rows]))  # noqa: PTH120
    names = Lazy(partial("{}/{}".format, name), range(len(rows)))
    return list_table(rows, datasets, data, names, data, places(datasets, named(data)[0]))


def list_table(rows: Any, datasets: Any, data: str, names: Lazy[str], root: str, folders: Sequence[str]) -> Listing:
    """The images and labels of rows, whatever loaded them. folders: those whose images rows may name.

    Raises ValueError for rows without images.
    """
    column, count = image_column(rows, datasets, data), range(len(rows))
    labels, classes, fault, several = labels_of(rows, datasets)
    pictures = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    check_paths(data, pictures[0][column] if count else None, folders)
    items = Lazy(partial(image_of, pictures, column, folders), count)
    return Listing(items, names, labels, root, classes=classes, unlabelled=fault, said=several)


def places(datasets: Any, name: str) -> tuple[str, ...]:
    """The folders whose images rows may name: the data set's own, and those into which it is downloaded."""
    own = (os.path.abspath(name), os.path.realpath(name)) if os.path.isdir(name) else ()  # noqa: PTH100, PTH112
    return *own, str(datasets.config.HF_DATASETS_CACHE), str(datasets.config.HF_CACHE_HOME)


def check_paths(data: str, image: Mapping[str, Any] | None, folders: Sequence[str]) -> None:
    """Raise ValueError where already the first row names an image elsewhere: then more of them do."""
    if image and image["path"] and not image["bytes"]:
        try:
            path_below(str(image["path"]), folders)
        except ValueError as error:
            raise ValueError(f"data {data!r}, row 0: {error}") from error


def package() -> Any:
    """The package datasets. Raises ValueError with the remedy where it is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(f"data {PREFIX}NAME needs the package datasets: pip install datasets") from error
    return datasets


def load(datasets: Any, data: str) -> Any:
    """The data set that DATA names, one split or all by name; the paths of its files where these are tars.

    Raises ValueError when there is none.
    """
    name, config = named(data)
    with said_in_one_line(data):
        if is_saved(name):
            return datasets.load_from_disk(name)
        files = datasets.load_dataset_builder(name, config).config.data_files or {}
        if files and all(str(file).lower().endswith(".tar") for some in files.values() for file in some):
            download = datasets.DownloadManager().download
            return {str(split): download([str(file) for file in some]) for split, some in files.items()}
        return datasets.load_dataset(name, config)


def parquet_files(data: str, split: Split) -> list[str]:
    """The .parquet files of a split, by path or address, of which nothing is read.

    Raises ValueError for a data set that has other ones.
    """
    datasets, (name, config) = package(), named(data)
    if is_saved(name):
        raise ValueError(f"data {data!r} was saved for reading from the disk, not as .parquet; leave --stream out")
    with said_in_one_line(data):
        found = datasets.load_dataset_builder(name, config).config.data_files or {}
    files = [str(file) for file in choose(data, found, split)[1]]
    odd = next((file for file in files if not file.lower().endswith(".parquet")), None)
    if odd is not None:
        raise ValueError(f"data {data!r} has {odd!r}, which is no .parquet file; leave --stream out")
    return files


def named(data: str) -> tuple[str, str | None]:
    """The name or folder of a data set, and its configuration where one is named. Raises ValueError without a name."""
    name, _, config = data.removeprefix(PREFIX).partition(":")
    if not name:
        raise ValueError(f"data {data!r} names no data set; it is written hf:NAME, hf:NAME:CONFIG or hf:./folder")
    folder = expand(name)
    return str(folder) if folder.is_dir() else name, config or None


def is_saved(name: str) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any((Path(name) / file).is_file() for file in SAVED)


@contextmanager
def said_in_one_line(data: str) -> Iterator[None]:
    """Whatever the package raises, in many lines, is a ValueError of one."""
    try:
        yield
    except Exception as error:
        missing = missing_module(error)
        if missing:
            package = PACKAGES.get(missing, missing)
            raise ValueError(f"data {data!r} needs the package {package}: pip install {package}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"data {data!r} cannot be loaded ({reason}); check the name and the network") from error


def missing_module(error: BaseException | None) -> str | None:
    """The module whose lack an error comes from, if it does."""
    while error is not None:
        if isinstance(error, ImportError):
            return (error.name or "").partition(".")[0] or None
        error = error.__cause__
    return None


def choose(data: str, found: Any, split: Split) -> tuple[str, Any]:
    """The name and the rows of a split: the other one's where it is not there, and a lone one whatever its name.

    Raises ValueError for several of which none is known.
    """
    if not isinstance(found, Mapping):
        return f"{data}/train", found
    own, other = (next((name for name in SPLITS[part] if name in found), None) for part in SPLITS)
    if split == "test":
        own = other or own
    own = next(iter(found)) if own is None and len(found) == 1 else own
    if own is None:
        wanted = ", ".join(SPLITS[split])
        raise ValueError(f"data {data!r} has the splits {', '.join(found)}; for {split}, one of {wanted} is wanted")
    return f"{data}/{own}", found[own]
