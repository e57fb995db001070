"""`pcae probe`: how good an encoder's features are, by its k nearest neighbours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from tyro.conf import Positional, arg

from pcae.commands.report import as_json, bar, console, table
from pcae.data.batches import check_max_bad_files
from pcae.data.decode import PixelRange
from pcae.data.images import Images, open_images
from pcae.data.unreadable import BadFiles
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
    max_bad_files: float = 0.05
    """Share of the images that may be unreadable, in [0, 1); they are left out and named at the end."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print as JSON."""


def run(config: Config) -> None:
    """Probe and print."""
    check_max_bad_files(config.max_bad_files)
    if config.k < 1:
        raise ValueError(f"k must be at least 1, got {config.k}")
    model = load(config.weights, pick_device(config.device))
    train, test = labelled(config.data, model.facts.encoder.channels, model.facts.pixel_range)
    bad = [BadFiles(images, config.max_bad_files) for images in (train, test)]
    features = [embed(model, found.images, config.pool, bad_files=found, follow=bar("embedding")) for found in bad]
    train, test = (found.images.without(found.found) for found in bad)
    rows = {"encoder": knn(features[0], train, features[1], test, config.k)}
    if config.pixels:
        size = model.facts.encoder.image_size
        rows["raw pixels"] = knn(raw_pixels(train, size), train, raw_pixels(test, size), test, config.k)
    report(config, len(train), len(test), rows)
    for found in bad:
        if found.found:
            console.print(f"{found.describe()}; they were left out")


def report(config: Config, train: int, test: int, rows: dict[str, float]) -> None:
    """Print the accuracies."""
    if config.json:
        facts = {"data": config.data, "k": config.k, "pool": config.pool, "train": train, "test": test}
        as_json(facts | {"knn": rows})
    else:
        title = f"{config.k} nearest of {train} training images, {test} test images"
        table(title, ["features", "kNN accuracy"], [[name, f"{value:.1%}"] for name, value in rows.items()])


def labelled(data: str, channels: int | None = None, pixel_range: PixelRange | None = None) -> tuple[Images, Images]:
    """Training and test images, both labelled with the same classes. Raises ValueError with the remedy."""
    train = open_images(data, "train", channels, pixel_range)
    test = open_images(data, "test", channels, pixel_range)
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
