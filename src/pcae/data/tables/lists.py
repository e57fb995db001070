"""Lists of files: .txt, one a line, and tables (.csv, .tsv, .parquet), whatever their columns are called."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pcae.data.files.decode import Source
from pcae.data.lazy import Lazy
from pcae.data.shards.remote import check_address, image_at, is_address
from pcae.data.tables.cells import PARQUET, TABLES, columns_in, rows_of, text_of
from pcae.data.tables.labels import NAMES, Label, Said, one_each, plain
from pcae.data.tables.listing import FOLDERS, Listing, is_image, split_word
from pcae.settings.choices import Split

PATHS = {
    "path", "filepath", "file", "filename", "fname", "image", "imagepath", "imagefile", "imagefilename", "imagename",
    "imageid", "imageindex", "img", "imgpath", "imgfile", "imgname", "imgid", "picture", "photo",
}  # fmt: skip
"""What columns of files are called, as `plain` has it."""
SPLITS = {"split", "splits", "set", "subset", "partition", "phase", "datasplit", "dataset"}
"""What columns are called that say of which split a row is."""
NEITHER = SPLITS | {
    "fold", "isvalid", "isval", "istest", "istrain", "id", "index", "width", "height", "size", "md5", "sha1", "sha256",
    "url", "mask", "maskpath", "maskfilename", "caption",
}  # fmt: skip
"""What columns are called that hold no labels, whatever they say."""
SEPARATORS = ",;\t|"
YES, NO = {"1", "1.0", "true"}, {"0", "0.0", "false", ""}
"""What a cell of a column that stands for one class says."""


def read_list(path: Path, split: Split) -> Listing:
    """Files named in a .txt (one a line), .csv, .tsv or .parquet, relative to the list, or at addresses.

    A table has a path in the first column and a label in the second, or a header (`columns_of`), and may say of which
    split a row is (`of_split`). Labels count where every file has one. Raises ValueError for what is no list, and for
    the first file that is not there.
    """
    beside = Beside(path.parent)
    if path.suffix.lower() not in (*TABLES, PARQUET):
        lines = text_of(path).split("\n")
        files = [beside.named([line.removesuffix("\r")], 0, path) for line in lines if line.strip()]
        return Listing(items_of(files), files, None, str(path.parent))
    rows = table_of(path, beside)
    place, header = columns_of(rows[:2], beside)
    if path.suffix.lower() == PARQUET and not header:
        raise ValueError(f"{path} has no column of files, only {', '.join(rows[0])}; call it path")
    rows = of_split(rows[1 if header else 0 :], header, split)
    files = [beside.named(row, place, path) for row in rows]
    said, fault = labels_of(rows, header, place)
    several = Said(said, "rows") if said else marked(rows, header, place)
    if several is not None and (odd := conflicts(files, several.labels)):
        several, fault = None, fault or odd
    labels, fault = (None, fault) if fault else one_each(said, lambda row: rows[row][place], "rows")
    return Listing(items_of(files), files, labels, str(path.parent), unlabelled=fault, said=several)


def items_of(files: list[str]) -> Sequence[Any]:
    """What images are read from: files as they are, and what addresses answer when they are asked."""
    return Lazy(partial(source_at, files), range(len(files))) if any(map(is_address, files)) else files


def source_at(files: Sequence[str], row: int) -> Source:
    """The path of a file, or all bytes at an address. Raises ValueError where there is no image, SourceGone where a
    server does not answer."""
    return image_at(files[row]) if is_address(files[row]) else files[row]


@dataclass(frozen=True)
class Beside:
    """The folder in which a list lies, and the images of folders below it by their names without suffix."""

    folder: Path
    stems: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def find(self, cell: str) -> list[str]:
        """The file or address that a cell names: as it stands there, else the files whose name it is without suffix."""
        if is_address(cell.strip()):
            return [cell.strip()]
        for name in dict.fromkeys((cell, cell.strip(), cell.strip().replace("\\", "/"))):
            if name and os.path.isfile(self.folder / name):  # noqa: PTH113  # a name may be too long, or no text
                return [str(self.folder / name)]
        inside, _, stem = cell.strip().replace("\\", "/").rpartition("/")
        if not stem or is_image(stem):
            return []
        if inside not in self.stems:
            self.stems[inside] = stems(self.folder / inside)
        return self.stems[inside].get(stem, [])

    def named(self, row: list[str], place: int, path: Path) -> str:
        """The file that a row of the list names. Raises ValueError, with the remedy, for none and for several."""
        cell = cell_of(row, place)
        if not cell.strip():
            raise ValueError(f"{path} has a row without a file, {','.join(row)!r}; fill it in, or take the row out")
        found = self.find(cell)
        if len(found) == 1:
            if is_address(found[0]):
                check_address(found[0])
            return found[0]
        if found:
            raise ValueError(f"{path} names {cell!r}, which {found[0]!r} and {found[1]!r} may be; write its suffix")
        raise ValueError(f"{path} names {str(self.folder / cell)!r}, which is no file; {self.remedy(cell)}")

    def remedy(self, cell: str) -> str:
        """What helps where a cell names no file."""
        near = next(
            (one.name for one in sorted(self.folder.iterdir()) if one.is_dir() and Beside(one).find(cell)), None
        )
        if near:
            return f"there is one in {near!r}: move the list there"
        if any(self.find(name) for name in (cell.rsplit(maxsplit=1)[0], cell.split(maxsplit=1)[0])):
            return "the name ends before: for labels behind names, make it a .csv whose lines are name,label"
        return "paths are relative to the list"


def stems(folder: Path) -> dict[str, list[str]]:
    """The images of a folder by their names without suffix."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:  # noqa: PTH112, PTH208
        if is_image(name):
            found.setdefault(os.path.splitext(name)[0], []).append(str(folder / name))  # noqa: PTH122
    return found


def table_of(path: Path, beside: Beside) -> list[list[str]]:
    """The rows of a table that hold anything, with the header. Raises ValueError when it is none."""
    if path.suffix.lower() == PARQUET:
        rows = columns_in(path)
    else:
        text = text_of(path)
        rows = rows_of(text, separator_of(text, beside), path)
    return [row for row in rows if any(cell.strip() for cell in row)]


def separator_of(text: str, beside: Beside) -> str:
    """What stands between columns: that by which a file is found, else a column of files by its name; else a comma."""
    found: dict[tuple[bool, bool], str] = {}
    for separator in SEPARATORS:
        try:
            rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 2))
        except csv.Error:
            continue
        files = any(beside.find(cell) for row in rows for cell in row)
        found.setdefault((files, any(plain(name) in PATHS for row in rows[:1] for name in row)), separator)
    return found[max(found)] if any(max(found, default=())) else SEPARATORS[0]


def columns_of(rows: list[list[str]], beside: Beside) -> tuple[int, list[str]]:
    """Which column names files, and the header, of the first two rows of a table; an empty one where there is none.

    A header names no file. Its column of files has a usual name (path, file_name, image_id, ...), or images below it.
    """
    header, below = (*rows, [], [])[:2]
    names = [cell for cell in header if cell]
    if any(is_image(cell) or is_address(cell) or os.path.isfile(beside.folder / cell) for cell in names):  # noqa: PTH113
        return 0, []
    known = [place for place, name in enumerate(header) if plain(name) in PATHS]
    there = [place for place in known if beside.find(cell_of(below, place))]
    unusual = [
        place for place, cell in enumerate(below) if (is_image(cell) or is_address(cell.strip())) and beside.find(cell)
    ]
    place = next(iter(there or known or unusual), None)
    return (0, []) if place is None else (place, header)


def of_split(rows: list[list[str]], header: list[str], split: Split) -> list[list[str]]:
    """The rows of a split, where a column called so says of which they are; as with folders, train is what is not held
    out where none is said to be train, and test the same as train where none is held out."""
    column = next((column for column, name in enumerate(header) if plain(name) in SPLITS), None)
    said = [] if column is None else [split_word(cell_of(row, column).strip()) for row in rows]
    train, test = (next((word for word in FOLDERS[part] if word in said), None) for part in FOLDERS)
    if train is None and test is None:
        return rows
    if split == "test" or train:
        wanted = train if split == "train" else test or train
        return [row for row, word in zip(rows, said, strict=True) if word == wanted]
    return [row for row, word in zip(rows, said, strict=True) if word not in FOLDERS["test"]]


def cell_of(row: Sequence[str], place: int) -> str:
    """A cell; an empty one where the row is too short."""
    return row[place] if place < len(row) else ""


def labels_of(rows: list[list[str]], header: list[str], place: int) -> tuple[list[Label], str]:
    """What each row says that its file shows; nothing, and why, where no column has labels.

    It is the second of two where it has no usual name. Columns of 0 and 1 alone are classes by their names. What is
    called as one of `NEITHER` is none of these.
    """
    names, width = [plain(name) for name in header], max(map(len, rows), default=0)
    if not header and width > 2:
        return [], f"its rows have {width} columns and no header; write one above them, such as path,label"
    second = 1 if place == 0 and width == 2 and NEITHER.isdisjoint(names[1:]) else None
    column = next((column for column, name in enumerate(names) if name in NAMES and column != place), second)
    if column is not None:
        return [cell_of(row, column).strip() for row in rows], ""
    others = [column for column in range(len(header)) if column != place]
    one = [column for column in others if names[column] not in NEITHER]
    if len(one) > 1 and all(cell_of(row, column).strip().lower() in YES | NO for row in rows for column in one):
        return [[header[column].strip() for column in one if is_yes(cell_of(row, column))] for row in rows], ""
    if not others:
        return [], ""
    named = ", ".join(repr(header[column]) for column in others[:5]) + (", ..." if len(others) > 5 else "")
    return [], f"none of its columns {named} is called label, class or target; rename the one with labels"


def marked(rows: list[list[str]], header: list[str], place: int) -> Said | None:
    """The columns that hold 0 and 1 alone as classes by their names, beside others that hold something else.

    None where there is at most one; a remark says which are left out.
    """
    others = [column for column in range(len(header)) if column != place and plain(header[column]) not in NEITHER]
    one = [column for column in others if all(cell_of(row, column).strip().lower() in YES | NO for row in rows)]
    if len(one) < 2:
        return None
    left = ", ".join(repr(header[column]) for column in others if column not in one)
    labels = [[header[column].strip() for column in one if is_yes(cell_of(row, column))] for row in rows]
    return Said(labels, "rows", remark=f"columns that hold other than 0 and 1 are no classes: {left}")


def column_of(path: Path, split: Split, name: str) -> list[str]:
    """What a column of a table says of each file, in the order of `read_list`.

    Raises ValueError, with the remedy, where there is no such column, and for a row of which it says nothing.
    """
    beside = Beside(path.parent)
    rows = table_of(path, beside)
    place, header = columns_of(rows[:2], beside)
    column = next((column for column, said in enumerate(header) if plain(said) == plain(name)), None)
    if column is None:
        names = f"its columns are {', '.join(map(repr, header))}" if header else "it has no header"
        raise ValueError(f"{path} has no column {name!r}; {names}")
    rows = of_split(rows[1:], header, split)
    odd = next((row for row in rows if not cell_of(row, column).strip()), None)
    if odd is not None:
        raise ValueError(f"{path} has no {name} of {cell_of(odd, place)!r}; fill it in, or take the row out")
    return [cell_of(row, column).strip() for row in rows]


def is_yes(cell: str) -> bool:
    """Whether a cell says that a column's name is what the file shows."""
    return cell.strip().lower() in YES


def conflicts(files: Sequence[str], labels: Sequence[Label]) -> str:
    """How many files have two labels in two rows, the first one, and what to do; nothing where there are none."""
    first: dict[str, int] = {}
    odd: dict[str, tuple[int, int]] = {}
    for row, label in enumerate(labels):
        before = first.setdefault(os.path.normpath(files[row]), row)
        if label and labels[before] and labels[before] != label:
            odd.setdefault(files[row], (before, row))
    if not odd:
        return ""
    file, two = next(iter(odd.items()))
    said = " and ".join(repr(labels[row]) for row in two)
    return f"{len(odd)} of {len(first)} files have several labels, the first is {file!r} ({said}); keep one row of each"
