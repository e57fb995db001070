"""The most likely classes of images, one line of JSON for each."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pcae.data.batches import whole_loader
from pcae.inference.trained import open_shown, open_trained
from pcae.results import Block, Result, Table
from pcae.settings.verbs.predict import PredictConfig
from pcae.terminal import bar, console
from pcae.writing import check_writable, in_one_move

SHOWN = 20
"""Images in the table of a result."""


@dataclass
class Predicted:
    """What was written: predictions of so many images; and why others have none, by name."""

    out: Path
    images: int = 0
    bad_files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Predictions(Result):
    """The likely classes of images. rows: of each image, its `path`, and `top`: `class` and `probability`, most likely
    first; or `error`, why it could not be read. out: the file that they were written to."""

    rows: list[dict[str, Any]]
    out: Path | None = None

    def blocks(self) -> list[Block]:
        """The first images and their likely classes."""
        lines = [
            [row["path"], row["error"] if "error" in row else ", ".join(map(in_words, row["top"]))]
            for row in self.rows[:SHOWN]
        ]
        left = len(self.rows) - SHOWN
        return [Table(f"{len(self.rows)} images", ["image", "classes"], lines), *([f"and {left} more"] * (left > 0))]

    def records(self) -> list[dict[str, Any]]:
        """A row for each class of each image, by rank from 1; an image that could not be read has one, with `error`."""
        return [
            {"path": row["path"], **one}
            for row in self.rows
            for one in (
                [{"error": row["error"]}]
                if "error" in row
                else [{"rank": rank, **best} for rank, best in enumerate(row["top"], start=1)]
            )
        ]


def in_words(best: dict[str, Any]) -> str:
    """A class and its probability."""
    return f"{best['class']} {best['probability']:.1%}"


def predict_images(config: PredictConfig) -> Predictions:
    """Classify, and write the predictions too where `out` is given. Raises ValueError as `predictions` does."""
    rows: list[dict[str, Any]] = []
    if config.out is None:
        rows.extend(predictions(config))
    else:
        write_predictions(config, config.out, rows.append)
    return Predictions(rows, config.out)


def write_predictions(
    config: PredictConfig, out: Path, follow: Callable[[dict[str, Any]], None] = lambda _: None
) -> Predicted:
    """Classify into a file that is there, whole, when all went well. Raises ValueError as `predictions` does.

    follow: is told each line.
    """
    check_writable(out, ".jsonl")
    found = Predicted(out)
    with in_one_move(out) as beside, beside.open("w", encoding="utf-8") as file:
        for line in predictions(config):
            follow(line)
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
    model = open_trained(config.model, config.rule)
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
                chances = facts.probabilities(classifier(batch.pixels.to(model.device)).float()).cpu()
                named = chances.shape[1] if config.threshold is not None else min(config.top, chances.shape[1])
                best = chances.topk(named, dim=1)
                for row, index in enumerate(batch.indices):
                    lines[index] = {"path": names[index], "top": said(best, row, facts.classes or [], config.threshold)}
            yield from (lines[index] for index in sorted(lines))
    if bad_files.found:
        console.print(bad_files.describe())


def said(best: torch.return_types.topk, row: int, classes: list[str], threshold: float | None) -> list[dict[str, Any]]:
    """The classes of one image and their probabilities, most likely first; none below a threshold."""
    pairs = zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
    return [
        {"class": classes[place], "probability": round(chance, 6)}
        for place, chance in pairs
        if threshold is None or chance >= threshold
    ]
