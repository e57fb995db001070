"""`pcae probe`: how good an encoder's features are, by its k nearest neighbours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from tyro.conf import Positional, arg

from pcae.commands.report import as_json, table
from pcae.data.images import Images, open_images
from pcae.evaluation.features import Pool, embed, raw_pixels
from pcae.evaluation.probes import knn_accuracy
from pcae.training.distributed import pick_device
from pcae.weights.files import load


@dataclass(frozen=True, kw_only=True)
class Config:
    """Classify held-out images by the labels of the most similar training images; no training.

    DATA is `sample`, `fashion-mnist`, or a folder with train and val folders of one folder a class.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """`sample`, `fashion-mnist`, or a folder with train/CLASS and val/CLASS folders."""
    weights: Path
    """Run folder or encoder.safetensors."""
    k: int = 20
    """Neighbours that vote."""
    pool: Pool = "mean"
    """mean of the patch tokens, or the class token (cls)."""
    pixels: bool = False
    """Probe raw pixels too: the baseline that any encoder should be held against."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print as JSON."""


def run(config: Config) -> None:
    """Probe and print."""
    model = load(config.weights, pick_device(config.device))
    train, test = labelled(config.data, model.facts.encoder.channels)
    rows = {"encoder": knn(embed(model, train, config.pool), train, embed(model, test, config.pool), test, config.k)}
    if config.pixels:
        size = model.facts.encoder.image_size
        rows["raw pixels"] = knn(raw_pixels(train, size), train, raw_pixels(test, size), test, config.k)
    if config.json:
        as_json(
            {
                "data": config.data,
                "k": config.k,
                "pool": config.pool,
                "train": len(train),
                "test": len(test),
                "knn": rows,
            }
        )
    else:
        title = f"{config.k} nearest of {len(train)} training images, {len(test)} test images"
        table(title, ["features", "kNN accuracy"], [[name, f"{value:.1%}"] for name, value in rows.items()])


def labelled(data: str, channels: int | None = None) -> tuple[Images, Images]:
    """Training and test images, both labelled with the same classes. Raises ValueError with the remedy."""
    train, test = open_images(data, "train", channels), open_images(data, "test", channels)
    if train.labels is None or test.labels is None:
        raise ValueError(f"data {data!r} has no labels; a probe needs train/CLASS/... and val/CLASS/... folders")
    if list(train.names) == list(test.names):
        raise ValueError(
            f"data {data!r} has no held-out images; a probe needs train/CLASS/... and val/CLASS/... folders"
        )
    if list(train.classes) != list(test.classes):
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(f"data {data!r}: train and test do not have the same classes, see {', '.join(odd[:3])}")
    return train, test


def knn(train: torch.Tensor, train_images: Images, test: torch.Tensor, test_images: Images, k: int) -> float:
    """kNN accuracy of features with their images' labels."""
    labels: list[Any] = [train_images.labels, test_images.labels]
    return knn_accuracy(train, torch.tensor(labels[0]), test, torch.tensor(labels[1]), k=k)
