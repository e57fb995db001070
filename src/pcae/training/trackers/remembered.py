"""What stands in a run folder for its trackers: which of their runs it is, and pictures that they take."""

import json
from pathlib import Path

from pcae.writing import replace_json

FILE = "trackers.json"
"""The ids of the trackers' runs, by tracker."""
KEPT, CONFUSION = "kept-tokens.png", "confusion.png"
"""Pictures: what the model keeps of some images, and which classes it takes for which."""


def remembered(folder: Path, tracker: str) -> str | None:
    """The id of the tracker's run that was begun in the folder."""
    return ids_in(folder).get(tracker)


def remember(folder: Path, tracker: str, run: str) -> None:
    """Write down the id of a tracker's run: when the training goes on, it goes on there."""
    replace_json(folder / FILE, {**ids_in(folder), tracker: run})


def ids_in(folder: Path) -> dict[str, str]:
    """The ids that were written down."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def pictures_in(folder: Path) -> dict[str, Path]:
    """The pictures that are there, by name."""
    return {path.stem: path for path in (folder / KEPT, folder / CONFUSION) if path.is_file()}
