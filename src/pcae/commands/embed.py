"""`pcae embed`: features of images to a .npy or .parquet file, the same every time."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pcae.commands.rows import rows_in
from pcae.commands.terminal import as_json, bar, console
from pcae.commands.trained import ShownConfig, TrainedConfig, check_shown, open_shown, open_trained
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import Pool, embed_in_batches
from pcae.training.checkpoint import check_writable, replace_text


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write one row of features an image; nothing is hidden, dropped or random.

    A .parquet file has the columns path and embedding. Beside OUT.npy stands OUT.files.json: which image each row is.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Folder, image, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`."""
    model: TrainedConfig
    out: Path
    """The .npy (float32, images x features) or .parquet file to write."""
    shown: ShownConfig = ShownConfig(split="train")
    pool: Pool = "mean"
    """mean of the patch tokens, or the class token (cls)."""
    tokens: bool = False
    """All patch tokens of each image (tokens x features, row by row of the grid) instead of one pooled row."""
    batch_size: int = 64
    """Images that are encoded at once."""
    json: bool = False
    """Print what was written as JSON."""


def run(config: Config) -> None:
    """Embed and write."""
    check(config)
    model = open_trained(config.model)
    bad_files = open_shown(config.data, config.shown, model)
    found = embed_in_batches(
        model,
        bad_files,
        "tokens" if config.tokens else config.pool,
        batch_size=config.batch_size,
        workers=config.shown.workers,
        follow=bar("embedding"),
    )
    rows, columns = model.encoder.grid
    shape = (rows * columns, model.encoder.width) if config.tokens else (model.encoder.width,)
    names: list[str] = []
    with rows_in(config.out, shape) as file:
        for indices, features in found:
            here = [bad_files.images.names[index] for index in indices]
            file.add(here, features.numpy())
            names += here
    if config.out.suffix == ".npy":
        replace_text(names_beside(config.out), json.dumps(names, indent=0))
    report(config, len(names), shape, bad_files)


def report(config: Config, images: int, shape: tuple[int, ...], bad_files: BadFiles) -> None:
    """Say what was written."""
    result = {"out": str(config.out), "images": images, "features": shape[-1], "bad_files": bad_files.by_name()}
    if config.json:
        as_json(result | ({"tokens": shape[0]} if config.tokens else {}))
    else:
        console.print(f"{' x '.join(map(str, (images, *shape)))} features in {config.out}")
    if bad_files.found:
        console.print(f"{bad_files.describe()}; they have no row")


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_shown(config.shown, config.batch_size)
    if config.tokens and config.pool != "mean":
        raise ValueError(f"tokens are not pooled; leave --pool {config.pool} out")
    check_writable(config.out, ".npy", ".parquet")
    if config.out.suffix == ".npy":
        check_writable(names_beside(config.out))


def names_beside(out: Path) -> Path:
    """Where the images of a .npy file's rows stand."""
    return out.with_suffix(".files.json")
