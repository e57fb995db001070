"""What `pcae compare` is told, and `pcae worth`, which compares what can be had for some images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from tyro.conf import Positional, arg

from pcae.settings.bounds import AnyData, Count, HeldOut, Natural, Positive, Seed
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


@dataclass(frozen=True, kw_only=True)
class WorthConfig:
    """Say whether pre-training is worth it for some images, within so many minutes.

    Frozen features of raw pixels, random weights and each of --weights; training with labels alone; pre-training from
    scratch, on from the weights, and a small network that learns their features: one table, a page, and a verdict with
    how sure it is. A few hundred labelled images will do. The same command goes on where it was interrupted.
    """

    EXAMPLES = (
        "labelled --weights timm:vit_small_patch14_dinov2.lvd142m",
        "labelled --unlabelled photos --minutes 60 --seeds 0 1 2 3 4 --out worth",
    )
    USUAL = "data weights minutes seeds out validation unlabelled most_labels recipe image_size workers device json"

    data: AnyData
    """Labelled images, as for `pcae probe`. Where none are held out, a third is, drawn anew for each seed."""
    weights: tuple[str, ...] = ()
    """Weights at hand, each as it is, on from, and as a teacher: run folders, files, timm:NAME, hf-hub:OWNER/NAME."""
    minutes: Positive = 20.0
    """What all of it may take; rows that are trained share what the others leave."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """All is done with each of them."""
    out: Path = Path("worth")
    """Folder of the page (worth.html), of worth.json, and of what is finished."""
    validation: HeldOut = None
    """Held-out images in another place; without it, the val folder or test split of DATA, where it has one."""
    unlabelled: HeldOut = None
    """Images without labels to pre-train on, beside those of DATA."""
    most_labels: Count = 2000
    """At most so many training images have labels that count, drawn for each seed; all are pre-trained on."""
    recipe: str | None = None
    """Recipe of `pcae pretrain` for what is pre-trained from scratch; without it, the network that --recipe auto picks,
    trained by MAE with one decoder block, which does best in the same seconds (docs/results.md)."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images in pixels for all networks; without it, each one's own."""
    workers: Natural = 0
    """Processes that read images beside this one."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print everything as JSON."""
