"""The most likely classes of images, one line of JSON for each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pcae.data.batches import whole_loader
from pcae.inference.trained import open_shown, open_trained
from pcae.settings.verbs.predict import PredictConfig
from pcae.terminal import bar, console
from pcae.writing import check_writable, in_one_move


@dataclass
class Predicted:
    """What was written: predictions of so many images; and why others have none, by name."""

    out: Path
    images: int = 0
    bad_files: dict[str, str] = field(default_factory=dict)


def write_predictions(config: PredictConfig, out: Path) -> Predicted:
    """Classify into a file that is there, whole, when all went well. Raises ValueError as `predictions` does."""
    check_writable(out, ".jsonl")
    found = Predicted(out)
    with in_one_move(out) as beside, beside.open("w", encoding="utf-8") as file:
        for line in predictions(config):
            file.write(json.dumps(line) + "\n")
            if "error" in line:
                found.bad_files[line["path"]] = line["error"]
            else:
                found.images += 1
    return found


def predictions(config: PredictConfig) -> Iterator[dict[str, Any]]:
    """A line for each image, in order; that of one that cannot be read says why.

    Raises ValueError for what cannot be, and when too many images cannot be read.
    """
    model = open_trained(config.model, config.pool_dropped)
    bad_files = open_shown(config.data, config.shown, model)
    facts, names, size = model.facts, bad_files.images.names, model.facts.encoder.image_size
    classifier = model.classifier(facts.drop_ratios[0] if config.drop_ratio is None else config.drop_ratio)
    loader = whole_loader(bad_files.images, size, None, config.batch_size, config.shown.workers, facts.crop_pct)
    with torch.inference_mode():
        for batch in bar("predicting")(loader):
            bad_files.add(batch.failed)
            bad_files.check()
            lines = {index: {"path": names[index], "error": why} for index, why in batch.failed.items()}
            if batch.indices:
                chances = classifier(batch.pixels.to(model.device)).float().softmax(dim=1).cpu()
                best = chances.topk(min(config.top, chances.shape[1]), dim=1)
                for row, index in enumerate(batch.indices):
                    lines[index] = {"path": names[index], "top": named(best, row, facts.classes or [])}
            yield from (lines[index] for index in sorted(lines))
    if bad_files.found:
        console.print(bad_files.describe())


def named(best: torch.return_types.topk, row: int, classes: list[str]) -> list[dict[str, Any]]:
    """The classes of one image and their probabilities, most likely first."""
    pairs = zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
    return [{"class": classes[place], "probability": round(chance, 6)} for place, chance in pairs]
