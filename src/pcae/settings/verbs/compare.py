"""What `pcae compare` is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from tyro.conf import Positional, arg

from pcae.settings.bounds import Natural, Positive, Seed
from pcae.settings.choices import Measure, ScaleName
from pcae.settings.sources import Data


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Pre-train settings side by side, measure them, and put them into one table.

    Rows come from a YAML file (--rows), or from a table of the paper (--table) at a scale. A finished cell, a row with
    a seed, is one file in OUT/cells and is not run again; a row that fails does not stop the others. The table is
    printed, and written to OUT with plots after every cell.
    """

    EXAMPLES = ("--table 3 --scale smoke --out table-3", "labelled --rows rows.yaml --seeds 0 1 2 --out comparison")

    data: Annotated[Data | None, Positional, arg(metavar="DATA")] = None
    """Labelled images, as for `pcae probe`; with --table, those of the scale."""
    rows: Path | None = None
    """YAML file of rows: docs/compare.md has the format."""
    table: int | None = None
    """Table of the paper, 1 or 3 to 15."""
    scale: ScaleName | None = None
    """Of a table: smoke (proves that it runs), small (Fashion-MNIST, small ViTs; the usual one), paper (an ImageNet
    folder)."""
    out: Path
    """Folder of cells, runs and tables; several comparisons may share it, and then their cells too."""
    seeds: tuple[Seed, ...] = (0,)
    """Each row is run with each of them."""
    measures: tuple[Measure, ...] | None = None
    """What is measured; without it, what the file or the table says."""
    epochs: Positive | None = None
    """The same pre-training in passes over the images for all rows, instead of their own."""
    seconds: Positive | None = None
    """The same pre-training in seconds for all rows: as many steps as fit by each row's own speed, measured first."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    workers: Natural = 0
    """Processes that read images beside this one."""
    accumulation: Annotated[int, Interval(gt=0)] = 1
    """Micro-batches per optimizer step of pre-training, where memory is short."""
    json: bool = False
    """Print the table as JSON."""
