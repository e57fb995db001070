"""TODO."""

from pathlib import Path
from statistics import median
from typing import Any

import torch

from pcae.data.unreadable import BadFiles
from pcae.evaluation.accuracy import Tally
from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import large_batch, take_turns
from pcae.inference.held_out import count_right
from pcae.model.pretrained import Classifier, Pretrained
from pcae.pictures.accuracy_speed import draw_curve
from pcae.pictures.confusion import draw_confusion
from pcae.settings.verbs.evaluate import EvaluateConfig
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.writing import check_writable

PICTURES = (".png", ".svg", ".pdf")


def check(config: EvaluateConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    ratios = config.drop_ratio or ()
    if len(set(ratios)) < len(ratios):
        raise ValueError(f"drop_ratio names a ratio twice: {' '.join(f'{ratio:g}' for ratio in ratios)}")
    for path in (config.out, config.confusion):
        if path is not None:
            check_writable(path, *PICTURES)


def picture_of(config: EvaluateConfig, ratios: int) -> Path | None:
    """Where accuracy against speed is drawn. Raises ValueError when it is asked for and cannot be."""
    drawn = ratios > 1 and config.rounds > 0
    if config.out is not None and not drawn:
        raise ValueError(f"out {str(config.out)!r} is a picture of two drop ratios or more, with --rounds 1 or more")
    path = config.out or Path("accuracy-speed.png")
    if drawn:
        check_writable(path, *PICTURES)
    return path if drawn else None


def evaluate(classifier: Classifier, bad_files: BadFiles, model: Pretrained, config: EvaluateConfig) -> Tally:
    """Classify all images."""
    world = World(0, 1, model.device)
    return count_right(
        classifier, bad_files, model.facts, world, config.shown.workers, config.batch_size or large_batch(model.device)
    )


def cost_of(classifier: Classifier, model: Pretrained) -> dict[str, Any]:
    """Multiply-accumulates and tokens, read off the running model with one image."""
    pixels = torch.zeros(1, *shape_of(model), dtype=torch.uint8, device=model.device)
    with torch.no_grad():
        cost, _ = measure(classifier, classifier.reduced.vit.blocks, pixels)
    return {"gmacs": cost.gmacs, "tokens": cost.tokens}


def shape_of(model: Pretrained) -> tuple[int, int, int]:
    """Channels, height and width of an image."""
    return model.facts.encoder.channels or 3, *model.facts.encoder.image_size


def measure_all(
    models: dict[float, Classifier], tallies: dict[float, Tally], model: Pretrained, config: EvaluateConfig
) -> list[dict[str, Any]]:
    """A row for each drop ratio: accuracy, cost, and images per second at batch 1 and at a large batch."""
    rows: list[dict[str, Any]] = [
        {"drop_ratio": ratio, "top1": found.top1, "top5": found.top5, "images": found.images}
        | cost_of(models[ratio], model)
        for ratio, found in tallies.items()
    ]
    for batch in sorted({1, config.batch_size or large_batch(model.device)}) if config.rounds else ():
        pixels = torch.randint(
            256, (batch, *shape_of(model)), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        seconds = take_turns(models, pixels.to(model.device), config.rounds)
        for row in rows:
            speeds = sorted(batch / spent for spent in seconds[row["drop_ratio"]])
            key = f"images_per_second_at_{batch}"
            row |= {key: median(speeds), f"{key}_least": speeds[0], f"{key}_most": speeds[-1]}
    return rows


def speeds_of(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Images per second by batch size, in words, for every row."""
    start = "images_per_second_at_"
    sizes = [key.removeprefix(start) for key in rows[0] if key.startswith(start) and key[len(start) :].isdigit()]
    return {f"batch {size}": [row[start + size] for row in rows] for size in sizes}


def draw(
    config: EvaluateConfig,
    picture: Path | None,
    model: Pretrained,
    rows: list[dict[str, Any]],
    tallies: dict[float, Tally],
) -> None:
    """Draw accuracy against speed, and the confusion matrix where asked."""
    if picture is not None:
        ratios, accuracies = ([row[key] for row in rows] for key in ("drop_ratio", "top1"))
        draw_curve(picture, ratios, accuracies, speeds_of(rows))
        console.print(f"accuracy against speed: {picture}")
    if config.confusion is not None:
        first = next(iter(tallies.values()))
        draw_confusion(config.confusion, first.confusion, model.facts.classes or [])
        console.print(f"confusion matrix: {config.confusion}")
