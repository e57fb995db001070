"""Where an export goes: a file or a folder that takes its place whole, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pcae.writing import reason_beside


def check_folder(path: Path) -> None:
    """Raise ValueError unless a folder could be written there and would replace nothing, before the work is done."""
    if path.name in {"", ".."}:
        raise ValueError(f"out {str(path)!r} cannot be replaced by a whole folder; give the name of a new one")
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"out {str(path)!r} is a folder that is not empty; give another or empty it")
    if path.exists() and not path.is_dir():
        raise ValueError(f"out {str(path)!r} is a file; give a folder")
    try:
        start_beside(path).rmdir()
    except OSError as error:
        raise ValueError(f"out {str(path)!r} cannot be written: {reason_beside(path, error)}") from error


def start_beside(path: Path) -> Path:
    """An empty folder beside `path`, in place of what a killed export left."""
    beside = path.with_name(f".{path.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    return beside


@contextmanager
def folder_in_one_move(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to write to; it takes the place of `path` when all went well, else it goes.

    Raises ValueError naming `path` when the disk does not take it.
    """
    beside = start_beside(path)
    try:
        yield beside
        for file in beside.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if path.is_dir():
            path.rmdir()
        beside.replace(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
