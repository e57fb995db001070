"""The names that a file of annotations has for its images -> files in the images' folder, never outside of it."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pcae.data.coco.checks import Picture, refuse
from pcae.data.coco.layout import CocoFiles

SEPARATORS = re.compile(r"[\\/]|\?d=")
"""What stands between folders: also Windows' and, behind ?d=, Label Studio's for local files."""
LOOKED_AT = 10
"""Names by which the folder is found."""


class ImageFiles(NamedTuple):
    """The folder of the images, their paths in the order of the annotations' images, and what is odd about them."""

    folder: Path
    paths: list[str]
    notes: list[str]


def image_files(files: CocoFiles, pictures: Sequence[Picture]) -> ImageFiles:
    """Where the images are: below one folder, by their names or, where the user gave the folder, by the last parts.

    A name that leads out of the folder (absolute, or with `..`) is never followed. Raises ValueError where images are
    missing, and where two names come to one file.
    """
    names = [name_of(picture) for picture in pictures]
    folder = next((one for one in files.folders if any(as_named(one, n) for n in names[:LOOKED_AT])), files.folders[0])
    exact = [as_named(folder, name) for name in names]
    found = [
        path or (by_last_parts(folder, name) if files.given else None) for path, name in zip(exact, names, strict=True)
    ]
    check_found(files, folder, names, found)
    paths = [str(path) for path in found]
    check_distinct(files, names, paths)
    short = [place for place, path in enumerate(exact) if path is None]
    twice = len(names) - len(set(names))
    notes = [
        *[f"{len(short)} of {len(names)} images are found by the last parts of their names: {names[place]!r} is "
          f"{paths[place]!r}" for place in short[:1]],
        *[f"{twice} of {len(names)} images name a file that another one names, too"] * bool(twice),
    ]  # fmt: skip
    return ImageFiles(folder, paths, notes)


def name_of(picture: Picture) -> str:
    """The image's name in the file; LVIS has an address alone, whose path counts. Raises ValueError without any."""
    name = picture.file_name or picture.coco_url
    if not name:
        raise ValueError(
            f"image {picture.id!r} of the annotations has neither file_name nor coco_url; add its file_name"
        )
    return unquote(urlsplit(name).path).lstrip("/") if "://" in name else name


def as_named(folder: Path, name: str) -> Path | None:
    """The file of this very name below a folder, unless the name leads out."""
    return None if Path(name).is_absolute() or ".." in Path(name).parts else there(folder / name)


def by_last_parts(folder: Path, name: str) -> Path | None:
    """The file below a folder by as many of the last parts of a name as lead to one, behind its last `..`."""
    parts = SEPARATORS.split(name)
    behind = len(parts) - parts[::-1].index("..") if ".." in parts else 0
    inner = [part for part in parts[behind:] if part not in ("", ".")]
    tried = (there(folder.joinpath(*inner[start:])) for start in range(len(inner)))
    return next((path for path in tried if path), None)


def there(path: Path) -> Path | None:
    """The path where it is a file."""
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):  # too long, not allowed, or with a zero byte
        return None


def check_found(files: CocoFiles, folder: Path, names: Sequence[str], found: Sequence[Path | None]) -> None:
    """Raise ValueError where an image has no file."""
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if not missing:
        return
    more = f" and {len(missing) - 1} more of {len(names)}" if len(missing) > 1 else ""
    parts = ", nor are the last parts of its name" if files.given else ""
    remedy = "give the folder" if not files.given else "give another folder"
    raise ValueError(
        f"annotations {str(files.annotations)!r} name the image {missing[0]!r}{more}, which is not in {str(folder)!r}"
        f"{parts}; {remedy} by --images DIR, in which the last parts of names are enough, in training that of held-out "
        "images by --validation-images DIR"
    )


def check_distinct(files: CocoFiles, names: Sequence[str], paths: Sequence[str]) -> None:
    """Raise ValueError where different names come to one file."""
    pairs = sorted({*zip(paths, names, strict=True)})
    shared = {path for path, count in Counter(path for path, _ in pairs).items() if count > 1}
    mixed = [f"{name!r} is taken for {path!r}, as another name is" for path, name in pairs if path in shared]
    refuse(str(files.annotations), mixed, "give by --images DIR the folder in which all of them are different files")
