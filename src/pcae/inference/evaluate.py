"""How often a classifier is right, and how fast it is, at one or more drop ratios."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from pcae.data.tables.labelled import for_classifier
from pcae.evaluation.accuracy import Tally
from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import large_batch, take_turns
from pcae.inference.held_out import count_right
from pcae.inference.trained import open_shown, open_trained, say_left_out
from pcae.model.pretrained import Classifier, Pretrained
from pcae.pictures.accuracy_speed import draw_curve
from pcae.pictures.confusion import draw_confusion
from pcae.settings.verbs.evaluate import EvaluateConfig
from pcae.tasks.dial import grid
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.writing import check_writable

PICTURES = (".png", ".svg", ".pdf")
START = "images_per_second_at_"
"""Of the keys of a row's speeds; the batch size follows."""


@dataclass(frozen=True)
class Evaluated:
    """A classifier's accuracy, cost and speed: a row for each drop ratio. classes: how many it tells apart."""

    weights: str
    data: str
    model: str
    criterion: str
    pool_dropped: bool
    device: str
    precision: str
    threads: int
    rows: list[dict[str, Any]]
    classes: int

    @property
    def speeds(self) -> dict[str, list[float]]:
        """Images per second (median) by batch size, for every row."""
        sizes = [key.removeprefix(START) for key in self.rows[0] if key.startswith(START)]
        return {size: [row[START + size] for row in self.rows] for size in sizes if size.isdigit()}


def evaluate_classifier(config: EvaluateConfig) -> Evaluated:
    """Evaluate and draw. Raises ValueError for what cannot be, and when too many images cannot be read."""
    check(config)
    model = open_trained(config.model, config.pool_dropped)
    chosen = config.drop_ratio or tuple(grid(*model.facts.drop_ratios))
    picture = picture_of(config, len(chosen))
    models = {ratio: model.classifier(ratio, config.criterion) for ratio in chosen}
    bad_files = open_shown(config.data, config.shown, model)
    bad_files.images = for_classifier(bad_files.images, model.facts.classes or [], config.data)
    costs = {ratio: cost_of(classifier, model) for ratio, classifier in models.items()}  # refused before any work
    batch, world = config.batch_size or large_batch(model.device), World(0, 1, model.device)
    tallies = {
        ratio: count_right(classifier, bad_files, model.facts, world, config.shown.workers, batch)
        for ratio, classifier in models.items()
    }
    rows: list[dict[str, Any]] = [
        {"drop_ratio": ratio, "top1": tally.top1, "top5": tally.top5, "images": tally.images, **costs[ratio]}
        for ratio, tally in tallies.items()
    ]
    for size in sorted({1, batch}) if config.rounds else ():
        add_speeds(rows, models, size, model, config.rounds)
    found = described(config, model, rows)
    draw(config, picture, found, tallies[chosen[0]], model.facts.classes or [])
    say_left_out(bad_files)
    return found


def described(config: EvaluateConfig, model: Pretrained, rows: list[dict[str, Any]]) -> Evaluated:
    """The rows with what they are of."""
    facts = model.facts
    return Evaluated(
        weights=config.model.weights,
        data=config.data,
        model=facts.encoder.model,
        criterion=config.criterion or facts.criterion,
        pool_dropped=facts.pool_dropped,
        device=str(model.device),
        precision="fp32",
        threads=torch.get_num_threads(),
        rows=rows,
        classes=len(facts.classes or ()),
    )


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


def cost_of(classifier: Classifier, model: Pretrained) -> dict[str, Any]:
    """Multiply-accumulates and tokens, read off the running model with one image."""
    pixels = torch.zeros(1, *shape_of(model), dtype=torch.uint8, device=model.device)
    with torch.no_grad():
        cost = measure(classifier, classifier.reduced.vit.blocks, pixels)
    return {"gmacs": cost.gmacs, "tokens": cost.tokens}


def shape_of(model: Pretrained) -> tuple[int, int, int]:
    """Channels, height and width of an image."""
    return model.facts.encoder.channels or 3, *model.facts.encoder.image_size


def add_speeds(
    rows: list[dict[str, Any]], models: dict[float, Classifier], batch: int, model: Pretrained, rounds: int
) -> None:
    """Put images per second at a batch size into the rows: median, least and most."""
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (batch, *shape_of(model)), dtype=torch.uint8, generator=noise)
    seconds = take_turns(models, pixels.to(model.device), rounds)
    for row in rows:
        speeds = sorted(batch / spent for spent in seconds[row["drop_ratio"]])
        key = f"{START}{batch}"
        row |= {key: median(speeds), f"{key}_least": speeds[0], f"{key}_most": speeds[-1]}


def draw(config: EvaluateConfig, picture: Path | None, found: Evaluated, first: Tally, classes: list[str]) -> None:
    """Draw accuracy against speed, and the confusion matrix of the first ratio where asked."""
    if picture is not None:
        ratios, accuracies = ([row[key] for row in found.rows] for key in ("drop_ratio", "top1"))
        draw_curve(picture, ratios, accuracies, {f"batch {size}": values for size, values in found.speeds.items()})
        console.print(f"accuracy against speed: {picture}")
    if config.confusion is not None:
        draw_confusion(config.confusion, first.confusion, classes)
        console.print(f"confusion matrix: {config.confusion}")
