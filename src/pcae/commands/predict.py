"""`pcae predict`: the most likely classes of images, a line of JSON for each."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import torch
from tyro.conf import Positional, arg

from pcae.commands.terminal import as_json, bar, console
from pcae.commands.trained import ShownConfig, TrainedConfig, check_shown, open_shown, open_trained
from pcae.data.batches import whole_loader
from pcae.data.unreadable import BadFiles
from pcae.model.pretrained import Pretrained
from pcae.training.checkpoint import check_writable, in_one_move


@dataclass(frozen=True, kw_only=True)
class Config:
    """Classify images: for each a line of JSON with its path and the classes of highest probability.

    The line of an image that cannot be read says why.
    """

    data: Annotated[str, Positional, arg(metavar="IMAGES")]
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: TrainedConfig
    out: Path | None = None
    """The .jsonl file to write; without it, lines go to standard output."""
    drop_ratio: float | None = None
    """Share of the patch tokens that each of three stages drops; without it, as it was fine-tuned."""
    pool_dropped: bool = False
    """Pool the means of dropped tokens, too, each for as many as it stands for: without training it keeps more of the
    accuracy. Weights that were fine-tuned so always do."""
    top: int = 5
    """Classes that are named for each image."""
    shown: ShownConfig = ShownConfig()
    batch_size: int = 32
    """Images that are classified at once."""
    json: bool = False
    """Print one JSON document instead of lines: all predictions, or with --out what was written."""


def run(config: Config) -> None:
    """Predict and write."""
    check(config)
    model = open_trained(config.model, config.pool_dropped)
    bad_files = open_shown(config.data, config.shown, model)
    lines = predictions(config, model, bad_files)
    if config.json and config.out is None:
        as_json(list(lines))
        return
    with output(config.out) as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    predicted = len(bad_files.images) - len(bad_files.found)
    if config.json:
        as_json({"out": str(config.out), "images": predicted, "bad_files": bad_files.by_name()})
    elif config.out:
        console.print(f"predictions of {predicted} images in {config.out}")
    if bad_files.found:
        console.print(bad_files.describe())


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_shown(config.shown, config.batch_size)
    if config.top < 1:
        raise ValueError(f"top must be at least 1, got {config.top}")
    if config.out:
        check_writable(config.out, ".jsonl")


@contextmanager
def output(out: Path | None) -> Iterator[TextIO]:
    """The file to write, which is there when all went well, or standard output."""
    if out is None:
        yield sys.stdout
        return
    with in_one_move(out) as beside, beside.open("w", encoding="utf-8") as file:
        yield file


def predictions(config: Config, model: Pretrained, bad_files: BadFiles) -> Iterator[dict[str, Any]]:
    """A line for each image, in order. Raises ValueError when too many cannot be read."""
    facts, images = model.facts, bad_files.images
    ratio = facts.drop_ratios[0] if config.drop_ratio is None else config.drop_ratio
    classifier = model.classifier(ratio)
    loader = whole_loader(
        images, facts.encoder.image_size, None, config.batch_size, config.shown.workers, facts.crop_pct
    )
    with torch.inference_mode():
        for batch in bar("predicting")(loader):
            bad_files.add(batch.failed)
            bad_files.check()
            lines = {index: {"path": images.names[index], "error": why} for index, why in batch.failed.items()}
            if batch.indices:
                chances = classifier(batch.pixels.to(model.device)).float().softmax(dim=1).cpu()
                best = chances.topk(min(config.top, chances.shape[1]), dim=1)
                for row, index in enumerate(batch.indices):
                    lines[index] = {"path": images.names[index], "top": named(best, row, facts.classes or [])}
            yield from (lines[index] for index in sorted(lines))


def named(best: torch.return_types.topk, row: int, classes: list[str]) -> list[dict[str, Any]]:
    """The classes of one image and their probabilities, most likely first."""
    pairs = zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
    return [{"class": classes[place], "probability": round(chance, 6)} for place, chance in pairs]
