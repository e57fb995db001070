"""The most likely classes of images, one line of JSON for each."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pcae.data.batches import whole_loader
from pcae.data.images import Images
from pcae.data.unreadable import Batch
from pcae.inference.answered_parts import answer_in_parts
from pcae.inference.feature_files import in_text
from pcae.inference.trained import facts_of, open_shown, open_trained, whole
from pcae.model.pretrained import Classifier, Pretrained
from pcae.results import Block, Result, Table
from pcae.settings.values import place_of
from pcae.settings.verbs.predict import PredictConfig
from pcae.sharing.in_parts import Work
from pcae.sharing.part_folder import PartFolder, check_alone, check_file, is_folder
from pcae.terminal import bar, console
from pcae.writing import in_one_move

SHOWN = 20
"""Images in the table of a result."""


@dataclass
class Predicted:
    """What was written: predictions of so many images; and why others have none, by name. shared: how, where it was to
    a folder.
    """

    out: Path | str
    images: int = 0
    bad_files: dict[str, str] = field(default_factory=dict)
    shared: dict[str, float] | None = None


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
    elif is_folder(config.out):
        predict_in_parts(config, config.out)
        rows.extend(map(without_empty, PartFolder(place_of(config.out)).table().to_pylist()))
    else:
        write_predictions(config, config.out, rows.append)
    return Predictions(rows, config.out)


def without_empty(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a part as a line has it."""
    return {name: value for name, value in row.items() if value is not None}


def write_predictions(
    config: PredictConfig, out: Path, follow: Callable[[dict[str, Any]], None] = lambda _: None
) -> Predicted:
    """Classify into a folder of parts, or into a file that is there, whole, when all went well.

    follow: is told each line of a file. Raises ValueError as `predictions` does.
    """
    if is_folder(out):
        return predict_in_parts(config, out)
    check_file(out, ".jsonl")
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


def predict_in_parts(config: PredictConfig, out: Path) -> Predicted:
    """Classify into a folder of parts; every process calls it."""

    def work_of(model: Pretrained, images: Images) -> Work:
        classifier, schema = classifier_of(model, config), schema_of_lines()
        said = {"drop_ratio": ratio_of(model, config), "rule": vars(model.facts.rule), "classes": model.facts.classes}
        said |= {"top": config.top, "threshold": config.threshold, "batch_size": config.batch_size}

        def answer(batch: Batch) -> Any:
            return as_table(lines_of(batch, classifier, model, images.names, config), schema)

        facts = partial(facts_of, model, images, config.data, said)
        return Work("predicting", whole(model, images), facts, schema, answer, "their rows say why")

    _, done = answer_in_parts(config, out, work_of, config.rule)
    return Predicted(place_of(out), done.images, done.bad_files, done.numbers())


def schema_of_lines() -> Any:
    """The columns of predictions: path, error where an image cannot be read, and top, a list of classes with their
    probabilities."""
    import pyarrow

    best = pyarrow.struct({"class": pyarrow.string(), "probability": pyarrow.float64()})
    return pyarrow.schema({"path": pyarrow.string(), "error": pyarrow.string(), "top": pyarrow.list_(best)})


def as_table(lines: list[dict[str, Any]], schema: Any) -> Any:
    """Lines as rows of a part."""
    import pyarrow

    return pyarrow.Table.from_pylist([line | {"path": in_text(line["path"])} for line in lines], schema)


def predictions(config: PredictConfig) -> Iterator[dict[str, Any]]:
    """A line for each image, in order; that of one that cannot be read says why.

    Raises ValueError for what cannot be, and when too many images cannot be read.
    """
    check_alone(config.out)
    model = open_trained(config.model, config.rule)
    bad_files = open_shown(config.data, config.shown, model)
    facts, names, size = model.facts, bad_files.images.names, model.facts.encoder.image_size
    classifier = classifier_of(model, config)
    loader = whole_loader(bad_files.images, size, None, config.batch_size, config.shown.workers, facts.crop_pct)
    for batch in bar("predicting")(loader):
        bad_files.add(batch.failed)
        bad_files.check()
        yield from lines_of(batch, classifier, model, names, config)
    if bad_files.found:
        console.print(bad_files.describe())


def classifier_of(model: Pretrained, config: PredictConfig) -> Classifier:
    """The classifier at the drop ratio that is asked for."""
    return model.classifier(ratio_of(model, config))


def ratio_of(model: Pretrained, config: PredictConfig) -> float:
    """The drop ratio that is asked for, else the least of the training."""
    return model.facts.drop_ratios[0] if config.drop_ratio is None else config.drop_ratio


@torch.inference_mode()
def lines_of(
    batch: Batch, classifier: Classifier, model: Pretrained, names: Sequence[str], config: PredictConfig
) -> list[dict[str, Any]]:
    """A line for each image of a batch, in order."""
    facts = model.facts
    lines: dict[int, dict[str, Any]] = {
        index: {"path": names[index], "error": why} for index, why in batch.failed.items()
    }
    if batch.indices:
        chances = facts.probabilities(classifier(batch.pixels.to(model.device)).float()).cpu()
        named = chances.shape[1] if config.threshold is not None else min(config.top, chances.shape[1])
        best = chances.topk(named, dim=1)
        for row, index in enumerate(batch.indices):
            lines[index] = {"path": names[index], "top": said(best, row, facts.classes or [], config.threshold)}
    return [lines[index] for index in sorted(lines)]


def said(best: torch.return_types.topk, row: int, classes: list[str], threshold: float | None) -> list[dict[str, Any]]:
    """The classes of one image and their probabilities, most likely first; none below a threshold."""
    pairs = zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
    return [
        {"class": classes[place], "probability": round(chance, 6)}
        for place, chance in pairs
        if threshold is None or chance >= threshold
    ]
