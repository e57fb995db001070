"""What is finished: a file for each row and seed, written after every part, so that nothing is done again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray

from pcae.comparison.cell import machine, slug
from pcae.comparison.rows import digest_of
from pcae.writing import replace_json

FINETUNED = "finetuned"
"""The part of a cell that fine-tuning is."""
FROZEN = "frozen"
"""The part that features as they are, are."""
ALL = "all"
"""All seconds of a cell, probes included."""


@dataclass
class Cell:
    """A row with a seed: what decides it, and which held-out images each measure got right, part by part.

    parts: by the part's name (`frozen`, `finetuned`, or the share of the time of a point) and measure. steps: of runs,
    decided before they begin, since a run goes on with as many. seconds: of runs, and of all of it.
    """

    path: Path
    row: str
    seed: int
    settings: dict[str, Any]
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A short name of what decides it."""
        return digest_of(self.settings)

    def add(self, part: str, right: Mapping[str, Bool[NDArray, " images"]], device: torch.device) -> None:
        """Keep what a part got right."""
        self.parts[part] = {name: "".join("01"[int(one)] for one in found) for name, found in right.items()}
        self.keep(device)

    def keep(self, device: torch.device) -> None:
        """Write all that is known."""
        said = {name: value for name, value in vars(self).items() if name != "path"}
        replace_json(self.path, {**said, "date": datetime.now(UTC).date().isoformat(), **machine(device)})

    def right(self, part: str, measure: str) -> Bool[NDArray, " images"] | None:
        """Which held-out images were right; None where it was not measured."""
        found = self.parts.get(part, {}).get(measure)
        return None if found is None else np.array([one == "1" for one in found], dtype=bool)


def cell_at(folder: Path, row: str, seed: int, settings: dict[str, Any]) -> Cell:
    """A cell with what is finished of it. Raises ValueError for a file that is damaged."""
    path = folder / "cells" / f"{slug(row)}-seed{seed}-{digest_of(settings)}.json"
    cell = Cell(path, row, seed, settings)
    if not path.is_file():
        return cell
    try:
        said = json.loads(path.read_text("utf-8"))
        cell.parts = {part: {name: str(bits) for name, bits in own.items()} for part, own in said["parts"].items()}
        cell.steps = {name: int(count) for name, count in said["steps"].items()}
        cell.seconds = {name: float(count) for name, count in said["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no whole cell; remove it to have it measured again") from error
    return cell
