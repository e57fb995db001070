"""TODO."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch

from pcae.data.batches import whole_loader
from pcae.data.unreadable import BadFiles
from pcae.model.pretrained import Pretrained
from pcae.settings.verbs.predict import PredictConfig
from pcae.terminal import bar
from pcae.writing import check_writable, in_one_move


def check(config: PredictConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
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


def predictions(config: PredictConfig, model: Pretrained, bad_files: BadFiles) -> Iterator[dict[str, Any]]:
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
