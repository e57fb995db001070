"""Files and folders that appear whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pcae.settings.sources import Data, each
from pcae.settings.values import expand

UMASK = os.umask(0o022)
os.umask(UMASK)
"""What others may not do with new files; it can only be read by being set."""


@contextmanager
def in_one_move(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when all went well, else it goes.

    Raises ValueError naming `path` when the disk does not take it.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        beside.unlink(missing_ok=True)  # a link that a stranger put there would lead elsewhere
        yield beside
        beside.chmod(0o666 & ~UMASK)  # safetensors lets nobody else read what it writes
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error
        raise


def check_writable(path: Path, *suffixes: str) -> None:
    """Raise ValueError when a file of one of these suffixes could not be written there, before the work is done."""
    if suffixes and path.suffix not in suffixes:
        raise ValueError(f"out {str(path)!r} must end in {' or '.join(suffixes)}")
    beside = path.with_name(f".{path.name}.writing")
    try:
        beside.unlink(missing_ok=True)
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise ValueError(f"out {str(path)!r} cannot be written: {reason_beside(path, error)}") from error
    if path.is_dir():
        raise ValueError(f"out {str(path)!r} is a folder; give a file")


def reason_beside(path: Path, error: OSError) -> str:
    """Why nothing can be written beside a path."""
    return error.strerror or str(error) if path.parent.exists() else f"there is no folder {str(path.parent)!r}; make it"


def replace_text(path: Path, text: str) -> None:
    """Write a small text file in one move."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a small file in one move."""
    with in_one_move(path) as beside:
        beside.write_bytes(content)


def replace_json(path: Path, values: Any) -> None:
    """Write values as JSON in one move, into a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(values, indent=2) + "\n")


def check_place(folder: Path, data: Data) -> None:
    """Raise ValueError, before any work, for a run folder that cannot be made.

    Nor may it lie inside a folder of images: its pictures would become images of the data.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        reason = "is no folder" if not there.is_dir() else "may not be written"
        raise ValueError(f"out {str(folder)!r} cannot be written: {str(there)!r} {reason}")
    for source in each(data):
        images = expand(source)
        if images.is_dir() and folder.resolve().is_relative_to(images.resolve()):
            raise ValueError(f"out {str(folder)!r} lies inside the data {source!r}; choose a folder outside it")


@contextmanager
def cleared_on_failure(folder: Path, wanted: Callable[[], bool]) -> Iterator[None]:
    """When what follows fails and `wanted`, take away what it put there: a run without a step leaves nothing behind."""
    missing = [place for place in (folder.absolute(), *folder.absolute().parents) if not place.exists()]
    before = set(folder.iterdir()) if not missing else set()
    try:
        yield
    except BaseException:
        if wanted() and missing:
            shutil.rmtree(missing[-1], ignore_errors=True)
        elif wanted():
            for path in set(folder.iterdir()) - before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
