"""`pcae embed`: features of images to a .npy file, the same every time."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from pcae.commands.report import as_json, console
from pcae.data.images import Split, open_images
from pcae.evaluation.features import Pool, embed
from pcae.training.checkpoint import replace_text
from pcae.training.distributed import pick_device
from pcae.weights.files import load


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write one row of features an image; nothing is hidden, dropped or random.

    Beside OUT.npy stands OUT.files.json: which image each row is.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Folder, .txt or .csv list, `sample` or `fashion-mnist`."""
    weights: Path
    """Run folder or encoder.safetensors."""
    out: Path
    """The .npy file to write: float32, images x features."""
    split: Split = "train"
    """Which split, where the data has splits."""
    pool: Pool = "mean"
    """mean of the patch tokens, or the class token (cls)."""
    workers: int = 0
    """Processes that read images beside this one."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print what was written as JSON."""


def run(config: Config) -> None:
    """Embed and write."""
    if config.out.suffix != ".npy":
        raise ValueError(f"out {str(config.out)!r} must end in .npy")
    if not config.out.parent.is_dir():
        raise ValueError(f"out {str(config.out)!r} lies in a folder that does not exist; make it first")
    model = load(config.weights, pick_device(config.device))
    images = open_images(config.data, config.split, model.facts.encoder.channels)
    features = embed(model, images, config.pool, config.workers).numpy()
    beside = config.out.with_name(f".{config.out.name}.writing")
    with beside.open("wb") as file:
        np.save(file, features)
    beside.replace(config.out)
    names = config.out.with_suffix(".files.json")
    replace_text(names, json.dumps(list(images.names), indent=0, ensure_ascii=False))
    result = {
        "out": str(config.out),
        "files": str(names),
        "images": len(features),
        "features": features.shape[1],
    }
    if config.json:
        as_json(result)
    else:
        console.print(f"{result['images']} x {result['features']} features in {config.out}, their images in {names}")
