"""A folder that is being packed: whether it is done or may be taken, by whom, and whether there is room."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pcae.data.images import Images
from pcae.data.packed.chunks import Jpeg, Pixels
from pcae.data.packed.reading import HEADER, UNFINISHED, check_sizes, is_packed, read_header
from pcae.training.distributed import World
from pcae.writing import replace_text

ROWS = "segment_rows"
"""What an unfinished packing says beside its task: images of a segment."""


@contextmanager
def written(out: Path) -> Iterator[None]:
    """What the disk does not take is a ValueError that names the folder."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"out {str(out)!r} cannot be written: {error.strerror or error}") from error


def is_done(out: Path, task: Mapping[str, Any]) -> bool:
    """Whether all of it is packed there. Raises ValueError when something else is."""
    if not (out / HEADER).is_file():
        return False
    header = read_header(out)
    check_sizes(out, header)
    check_same(out, header, task)
    clear(out)
    return True


def check_same(out: Path, theirs: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    """Raise ValueError naming what differs between a folder's packing and the one that is asked for."""
    for name, value in task["settings"].items():
        if theirs["settings"].get(name) != value:
            raise ValueError(
                f"out {str(out)!r} holds images packed with {name} = {theirs['settings'].get(name)}, not {value}; "
                "choose another folder"
            )
    for name in task["source"].keys() | theirs["source"].keys():
        mine, there = task["source"].get(name, {}), theirs["source"].get(name, {})
        odd = [key for key in mine.keys() | there.keys() if mine.get(key) != there.get(key)]
        odd = [key for key in odd if key != "labels" or "labels" in there or mine.get("several")]  # older ones lack it
        if odd:
            what = "labels" if {*odd} <= {"labels", "several"} else "images"
            raise ValueError(f"out {str(out)!r} holds other {what} of the split {name}; choose another folder")


def check_vacant(out: Path, task: Mapping[str, Any]) -> None:
    """Raise ValueError when a folder holds anything but the beginning of this packing."""
    if out.is_dir() and not is_packed(out):
        other = next(iter(sorted(path.name for path in out.iterdir())), None)
        if other:
            raise ValueError(f"out {str(out)!r} holds {other!r} of another program; choose another folder")
    if (out / UNFINISHED).is_file():
        try:
            theirs = json.loads((out / UNFINISHED).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"out {str(out)!r} has a damaged {UNFINISHED}; remove the folder") from error
        check_same(out, theirs, task)
        if ROWS not in theirs:
            raise ValueError(f"out {str(out)!r} was begun by an earlier version, in other files; remove the folder")


def check_space(out: Path, form: Pixels | Jpeg, splits: Sequence[Images], rows: int) -> None:
    """Raise ValueError when the disk has no place for the pixels that are not there yet.

    rows: images of a segment, which is there twice while it is joined to those before it.
    """
    if isinstance(form, Jpeg):
        return
    there = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    height, width = form.image_size
    images = sum(map(len, splits)) + (rows if max(map(len, splits)) > rows else 0)
    wanted = images * splits[0].channels * height * width
    left = wanted - sum(path.stat().st_size for path in out.glob("*.data*"))
    free = shutil.disk_usage(there).free
    if left > free:
        raise ValueError(
            f"out {str(out)!r} cannot be written: {left / 1e9:.3g} GB are wanted and {free / 1e9:.3g} GB are free; "
            "use --form jpeg, a smaller --side or another disk"
        )


def begin(out: Path, task: Mapping[str, Any], rows: int) -> int:
    """Write down what is to be packed; images of a segment, as it was begun."""
    with written(out):
        out.mkdir(parents=True, exist_ok=True)
        if not (out / UNFINISHED).is_file():
            replace_text(out / UNFINISHED, json.dumps({**task, ROWS: rows}, indent=1))
        return int(json.loads((out / UNFINISHED).read_text(encoding="utf-8"))[ROWS])


@contextmanager
def alone(folder: Path, world: World) -> Iterator[None]:
    """Keep other packings out of a folder while a process of this one is at work there; every process calls it.

    Raises ValueError when another packing is.
    """
    with ExitStack() as held:
        lock = partial(hold, folder, held)
        world.from_main(partial(lock, True))
        if not world.is_main:
            lock(False)
        yield


def hold(folder: Path, held: ExitStack, first: bool) -> None:
    """Lock a folder: the first process of a packing where nobody has, the others together with it."""
    import fcntl  # Unix alone has it, and every system lists the verb

    with written(folder):
        file = held.enter_context((folder / UNFINISHED).open("r+b"))
        try:
            if first:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # either, says POSIX
            raise ValueError(busy(folder)) from error
    if not same_file(folder / UNFINISHED, file):
        raise ValueError(busy(folder))


def busy(folder: Path) -> str:
    """That another packing is at work."""
    return f"out {str(folder)!r} is being packed by another process; wait until it is done"


def same_file(path: Path, file: BinaryIO) -> bool:
    """Whether an open file still stands at its path: who finishes a packing takes it away."""
    return path.is_file() and os.path.samestat(path.stat(), os.fstat(file.fileno()))


def clear(out: Path) -> None:
    """Remove what was only for going on."""
    for path in (*out.glob("*.chunks*"), out / UNFINISHED):
        path.unlink(missing_ok=True)
