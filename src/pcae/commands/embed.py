"""`pcae embed`: features of images to a .npy or .parquet file, the same every time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
from tyro.conf import Positional, arg

from pcae.commands.report import as_json, bar, console
from pcae.data.batches import check_max_bad_files, check_workers
from pcae.data.images import open_images
from pcae.data.listing import Split
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import Pool, embed
from pcae.training.checkpoint import check_writable, in_one_move, replace_text
from pcae.training.distributed import pick_device
from pcae.weights.files import load


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write one row of features an image; nothing is hidden, dropped or random.

    A .parquet file has the columns path and embedding. Beside OUT.npy stands OUT.files.json: which image each row is.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Folder, .txt or .csv list, `sample` or `fashion-mnist`."""
    weights: Path
    """Run folder or encoder.safetensors."""
    out: Path
    """The .npy (float32, images x features) or .parquet file to write."""
    split: Split = "train"
    """Which split, where the data has splits."""
    pool: Pool = "mean"
    """mean of the patch tokens, or the class token (cls)."""
    max_bad_files: float = 0.05
    """Share of the images that may be unreadable, in [0, 1); they have no row and are named at the end."""
    workers: int = 0
    """Processes that read images beside this one."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print what was written as JSON."""


def run(config: Config) -> None:
    """Embed and write."""
    check(config)
    model = load(config.weights, pick_device(config.device))
    images = open_images(config.data, config.split, model.facts.encoder.channels, model.facts.pixel_range)
    bad_files = BadFiles(images, config.max_bad_files)
    features = embed(model, images, config.pool, config.workers, bad_files, bar("embedding")).numpy()
    names = images.without(bad_files.found).names
    write(config.out, names, features)
    result = {
        "out": str(config.out),
        "images": len(features),
        "features": features.shape[1],
        "bad_files": bad_files.by_name(),
    }
    if config.json:
        as_json(result)
    else:
        console.print(f"{result['images']} x {result['features']} features in {config.out}")
    if bad_files.found:
        console.print(f"{bad_files.describe()}; they have no row")


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_max_bad_files(config.max_bad_files)
    check_workers(config.workers)
    check_writable(config.out, ".npy", ".parquet")
    if config.out.suffix == ".npy":
        check_writable(names_beside(config.out))


def write(out: Path, names: Sequence[str], features: np.ndarray) -> None:
    """Write the features and which image each row is, each file in one move."""
    with in_one_move(out) as beside, beside.open("wb") as file:
        if out.suffix == ".npy":
            np.save(file, features)
        else:
            write_parquet(file, names, features)
    if out.suffix == ".npy":
        replace_text(names_beside(out), json.dumps(list(names), indent=0))


def names_beside(out: Path) -> Path:
    """Where the images of a .npy file's rows stand."""
    return out.with_suffix(".files.json")


def write_parquet(file: BinaryIO, names: Sequence[str], features: np.ndarray) -> None:
    """The columns path and embedding (a list of float32 of fixed length); odd bytes in paths become \\x..."""
    import pyarrow
    from pyarrow import parquet

    paths = [name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in names]
    rows = pyarrow.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1])
    parquet.write_table(pyarrow.table({"path": pyarrow.array(paths, pyarrow.string()), "embedding": rows}), file)
