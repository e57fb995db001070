"""Hugging Face data sets, `hf:NAME`: the rows of a split whose images we decode ourselves."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pcae.data.files.decode import Source
from pcae.data.lazy import Lazy
from pcae.data.tables.listing import Listing
from pcae.settings.choices import Split
from pcae.settings.values import expand

PREFIX = "hf:"
SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("validation", "valid", "val", "test")}
"""Names of the splits, the first that is there counts."""
SAVED = ("dataset_dict.json", "state.json")
"""What stands in a folder that `save_to_disk` wrote."""
LABELS = ("label", "labels")
UNKNOWN = {-1, ""}
"""What data sets write where a row has no label; some write nothing."""


def list_rows(data: str, split: Split) -> Listing:
    """The images of `hf:NAME`, `hf:NAME:CONFIG` or `hf:FOLDER`, by the column of type Image.

    Labels are the names of a ClassLabel, else what the column label or labels has; where a row has none, none has.
    Raises ValueError in one line for what cannot be loaded or holds no images.
    """
    datasets = package()
    name, rows = choose(data, load(datasets, data), split)
    column = next((key for key, kind in rows.features.items() if isinstance(kind, datasets.Image)), None)
    if column is None:
        raise ValueError(f"data {data!r} has no column of images, only {', '.join(map(str, rows.features))}")
    labels, classes = labels_of(rows, datasets.ClassLabel)
    pictures = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    count = range(len(rows))
    items, names = Lazy(partial(image_of, pictures, column), count), Lazy(partial("{}/{}".format, name), count)
    return Listing(items, names, labels, data, classes=classes)


def image_of(pictures: Any, column: str, row: int) -> Source:
    """The bytes of an image, or its path. Raises ValueError where there is none."""
    image = pictures[row][column]
    if image is None:
        raise ValueError("the row has no image")
    return image["bytes"] or str(image["path"])


def package() -> Any:
    """The package datasets. Raises ValueError with the remedy where it is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(f"data {PREFIX}NAME needs the package datasets: pip install datasets") from error
    return datasets


def load(datasets: Any, data: str) -> Any:
    """The data set that DATA names, one split or all by name. Raises ValueError when there is none."""
    name, config = named(data)
    with said_in_one_line(data):
        return datasets.load_from_disk(name) if is_saved(name) else datasets.load_dataset(name, config)


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
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"data {data!r} cannot be loaded ({reason}); check the name and the network") from error


def choose(data: str, found: Any, split: Split) -> tuple[str, Any]:
    """The name and the rows of a split: the other one's where it is not there, and a lone one whatever its name.

    Raises ValueError for several of which none is known.
    """
    if not isinstance(found, Mapping):
        return f"{data}/{split}", found
    own, other = (next((name for name in SPLITS[part] if name in found), None) for part in SPLITS)
    if split == "test":
        own = other or own
    own = next(iter(found)) if own is None and len(found) == 1 else own
    if own is None:
        wanted = ", ".join(SPLITS[split])
        raise ValueError(f"data {data!r} has the splits {', '.join(found)}; for {split}, one of {wanted} is wanted")
    return f"{data}/{own}", found[own]


def labels_of(rows: Any, class_label: type) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """The label of each row, and all classes in order where a ClassLabel has them."""
    named = [key for key, kind in rows.features.items() if isinstance(kind, class_label)]
    column = next((key for key in (*LABELS, *named) if key in rows.features), None)
    if column is None:
        return None, None
    values, classes = rows.select_columns([column])[:][column], rows.features[column].names if column in named else None
    if not all(type(value) in {int, str} and value not in UNKNOWN for value in values):
        return None, classes
    words = classes or {value: str(value) for value in set(values)}
    return [words[value] for value in values], classes
