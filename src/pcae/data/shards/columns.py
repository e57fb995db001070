"""Which columns of a Hugging Face data set hold the images and their labels, and what of them is no image."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pcae.data.files.decode import Source
from pcae.data.tables.labels import NAMES, Label, Said, one_each, plain
from pcae.data.tables.listing import is_image

IMAGES = {"image", "images", "img", "picture", "photo"}
"""What columns of images are called; so are those of tars, which are called as files end: jpg, png."""
LABELS = ("label", "labels")
UNKNOWN = {-1, ""}
"""What data sets write where a row has no label; some write nothing."""


def image_column(rows: Any, datasets: Any, data: str) -> str:
    """The column of images, of several the `usual` one. Raises ValueError, with the remedy, where there is none."""
    columns = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    if columns:
        return usual(columns)
    for name, kind in rows.features.items():
        inner = getattr(kind, "feature", None)
        if isinstance(inner, datasets.Image):
            raise ValueError(
                f"data {data!r} has several images a row, in its column {name!r}; give each a row of its own: rows.map("
                f'lambda some: {{"image": sum(some["{name}"], [])}}, batched=True, remove_columns=rows.column_names)'
                '.save_to_disk("FOLDER"), and give hf:FOLDER'
            )
        if type(kind).__name__ in {"Array2D", "Array3D"} or getattr(inner, "feature", None) is not None:
            raise ValueError(
                f"data {data!r} has no column of images; its column {name!r} holds arrays of numbers. Make images of "
                f'them: rows.map(lambda row: {{"image": PIL.Image.fromarray(numpy.asarray(row["{name}"], "uint8"))}})'
                '.save_to_disk("FOLDER"), and give hf:FOLDER'
            )
    held = files_in(rows.features)
    remedy = held and (
        f"; where {usual(held)!r} holds files, as bytes or paths: rows.cast_column({usual(held)!r}, datasets.Image())"
        '.save_to_disk("FOLDER"), and give hf:FOLDER'
    )
    raise ValueError(f"data {data!r} has no column of images, only {', '.join(map(str, rows.features))}{remedy or ''}")


def files_in(features: Mapping[str, Any]) -> list[str]:
    """The columns that may hold files without saying so: bytes, bytes beside paths, or paths by a usual name."""
    kinds = {name: str(getattr(kind, "dtype", "")) for name, kind in features.items()}
    named = [name for name, kind in kinds.items() if kind.endswith("string") and is_usual(name)]
    beside = [name for name, kind in features.items() if isinstance(kind, dict) and "bytes" in kind]
    return [name for name, kind in kinds.items() if kind.endswith("binary")] + beside + named


def usual(columns: Iterable[str]) -> str:
    """Which of several columns of images counts: the one with fewer dots (jpg before depth.png), then by a usual name,
    then the first."""
    return min(columns, key=lambda name: (name.count("."), not is_usual(name)))


def is_usual(name: str) -> bool:
    """Whether a column is called as columns of images are."""
    return plain(name) in IMAGES or is_image(f"a.{name}")


def image_of(pictures: Any, column: str, folders: Sequence[str], row: int) -> Source:
    """The bytes of an image, or its path. Raises ValueError where there is none, or a path leads out of `folders`."""
    image = pictures[row][column]
    if image is None or not (image["bytes"] or image["path"]):
        raise ValueError("the row has no image")
    return image["bytes"] or path_below(str(image["path"]), folders)


def path_below(path: str, folders: Sequence[str]) -> str:
    """A path that a row names, from the first of the folders that may hold images.

    Raises ValueError, with the remedy, for one that leads out of all of them.
    """
    place = os.path.normpath(os.path.join(folders[0], path))  # noqa: PTH118
    if "\0" in path or not any(place.startswith(os.path.join(folder, "")) for folder in folders):  # noqa: PTH118
        raise ValueError(
            f"the row has no bytes of its image, only the path {path!r}, which leads out of the data; "
            f"{WITH_BYTES}, and give hf:FOLDER"
        )
    return place


WITH_BYTES = (
    'write it with them: datasets.load_dataset("parquet", data_files=FILES, split="train").save_to_disk("FOLDER")'
)
"""How a data set of paths gets the bytes of its images."""


def labels_of(rows: Any, datasets: Any) -> tuple[list[str] | None, Sequence[str] | None, str, Said | None]:
    """The label of each row, all classes in order where a ClassLabel has them, why labels do not count, and what is
    said where a row may have several."""
    kinds = {name: getattr(kind, "feature", None) or kind for name, kind in rows.features.items()}
    declared = [name for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    usual = [name for name in kinds if plain(name) in NAMES and not isinstance(kinds[name], datasets.Image)]
    column = next((name for name in (*LABELS, *declared, *usual) if name in kinds), None)
    if column is None:
        return None, None, "", None
    values = rows.select_columns([column])[:][column]
    classes = kinds[column].names if column in declared else None
    words = [said(value, classes) for value in values]
    odd = next((row for row, value in enumerate(values) if words[row] is None and value is not None), None)
    if odd is not None:
        fault = f"column {column!r} holds no words or whole numbers, but {values[odd]!r}; give words in their place"
        return None, classes, fault, None
    labels, fault = one_each(words, lambda row: f"row {row}", "rows", classes is not None)
    return labels, classes, fault, Said(words, "rows", classes is not None)


def said(value: Any, classes: Sequence[str] | None) -> Label:
    """What a row's label says; None for what is none."""
    if isinstance(value, list):
        words = [said(one, classes) for one in value]
        return None if any(not isinstance(word, str) for word in words) else [str(word) for word in words]
    if type(value) not in {int, str}:
        return None
    return "" if value in UNKNOWN else classes[value] if classes and isinstance(value, int) else str(value)
