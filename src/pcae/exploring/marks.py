"""Marked images as a list of files, which every verb takes as DATA."""

import os
from collections.abc import Sequence
from pathlib import Path

from pcae.data.opened import Images
from pcae.data.tables.lists import read_list
from pcae.writing import check_writable, replace_bytes


def can_be_marked(images: Images) -> bool:
    """Whether the images are files of their own, which a list can name."""
    return os.path.isfile(images.names[0])  # noqa: PTH113 - a name may be too long, or no text


def check_list(out: Path) -> None:
    """Raise ValueError for a list that cannot be written."""
    check_writable(out, ".txt")


def marked_before(out: Path, images: Images) -> set[str]:
    """The names of the images in a list that is there already; none where there is no list.

    Raises ValueError for one that names other files: it would lose them.
    """
    if not out.exists():
        return set()
    names = {os.path.abspath(name): name for name in images.names}  # noqa: PTH100
    listed = [os.path.abspath(name) for name in read_list(out, "train").names]  # noqa: PTH100
    others = [name for name in listed if name not in names]
    if others:
        raise ValueError(
            f"out {str(out)!r} is there and names {len(others)} files that are no images here, the first is "
            f"{others[0]!r}; give another --out"
        )
    return {names[name] for name in listed}


def write_marked(out: Path, images: Images, marked: Sequence[int]) -> None:
    """Write the paths of the marked images, one a line, in one move.

    Raises ValueError for none, for an image that is not there, and for a name that no line can have.
    """
    if not marked:
        raise ValueError(f"no image is marked; {out} stays as it is")
    odd = [index for index in marked if not 0 <= index < len(images)]
    if odd:
        raise ValueError(f"there is no image {odd[0]}; there are {len(images)}")
    paths = dict.fromkeys(os.path.abspath(images.names[index]) for index in marked)  # noqa: PTH100
    gone = next((path for path in paths if not os.path.isfile(path)), None)  # noqa: PTH113
    if gone is not None:
        raise ValueError(f"{gone!r} is no file of its own, or is gone; it cannot stand in a list")
    broken = [path for path in paths if "\n" in path or path.endswith("\r")]
    if broken:
        raise ValueError(f"{broken[0]!r} has a line break in its name and cannot stand in a list; rename the file")
    replace_bytes(out, "".join(f"{path}\n" for path in paths).encode("utf-8", "surrogateescape"))
