"""`pcae evaluate`: accuracy and speed of a classifier at one or more drop ratios."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
from tyro.conf import Positional, arg

from pcae.commands.terminal import as_json, console, table
from pcae.commands.trained import ShownConfig, TrainedConfig, check_shown, open_shown, open_trained
from pcae.commands.validation import count_right
from pcae.data.labelled import for_classifier
from pcae.data.unreadable import BadFiles
from pcae.evaluation.accuracy import Tally
from pcae.evaluation.confusion import draw_confusion
from pcae.evaluation.cost import measure
from pcae.evaluation.curve import draw_curve
from pcae.evaluation.throughput import large_batch, take_turns
from pcae.model.criteria import CriterionName
from pcae.model.pretrained import Classifier, Pretrained
from pcae.tasks.dial import grid
from pcae.training.checkpoint import check_writable
from pcae.training.distributed import World

PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Say how often a classifier is right and how fast it is, and what speed costs in accuracy.

    DATA has labels. Works with any classifier: a fine-tuned run, or timm:NAME, whose tokens are then dropped without
    any training.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Folder with val/CLASS/... folders, .csv of path,label, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: TrainedConfig
    drop_ratio: tuple[float, ...] | None = None
    """Shares of the patch tokens that each of three stages drops; without it, those that it was fine-tuned with."""
    criterion: CriterionName | None = None
    """Which tokens go: those most like the mean (the method), or those of another rule, to compare it with; without it,
    as it was fine-tuned."""
    pool_dropped: bool = False
    """Pool the means of dropped tokens, too, each for as many as it stands for: without training it keeps more of the
    accuracy. Weights that were fine-tuned so always do."""
    shown: ShownConfig = ShownConfig()
    batch_size: int | None = None
    """Images of a large batch; without it, 16 on a CPU and 256 elsewhere."""
    rounds: int = 5
    """Turns that each drop ratio has in the measurement of speed; 0 for none."""
    out: Path | None = None
    """Picture of accuracy against speed (.png, .svg or .pdf) of two drop ratios or more; without it,
    accuracy-speed.png."""
    confusion: Path | None = None
    """Picture of the confusion matrix at the first drop ratio (.png, .svg or .pdf)."""
    json: bool = False
    """Print as JSON."""


def run(config: Config) -> None:
    """Evaluate, print and draw."""
    check(config)
    model = open_trained(config.model, config.pool_dropped)
    chosen = config.drop_ratio or tuple(grid(*model.facts.drop_ratios))
    picture = picture_of(config, len(chosen))
    models = {ratio: model.classifier(ratio, config.criterion) for ratio in chosen}
    bad_files = open_shown(config.data, config.shown, model)
    bad_files.images = for_classifier(bad_files.images, model.facts.classes or [], config.data)
    for classifier in models.values():
        cost_of(classifier, model)  # a ratio that leaves no tokens is refused before any work
    tallies = {ratio: evaluate(classifier, bad_files, model, config) for ratio, classifier in models.items()}
    rows = measure_all(models, tallies, model, config)
    report(config, model, rows)
    draw(config, picture, model, rows, tallies)
    if bad_files.found:
        console.print(f"{bad_files.describe()}; they were left out")


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    check_shown(config.shown, config.batch_size)
    if config.rounds < 0:
        raise ValueError(f"rounds must be 0 or more, got {config.rounds}")
    ratios = config.drop_ratio or ()
    if len(set(ratios)) < len(ratios):
        raise ValueError(f"drop_ratio names a ratio twice: {' '.join(f'{ratio:g}' for ratio in ratios)}")
    for path in (config.out, config.confusion):
        if path is not None:
            check_writable(path, *PICTURES)


def picture_of(config: Config, ratios: int) -> Path | None:
    """Where accuracy against speed is drawn. Raises ValueError when it is asked for and cannot be."""
    drawn = ratios > 1 and config.rounds > 0
    if config.out is not None and not drawn:
        raise ValueError(f"out {str(config.out)!r} is a picture of two drop ratios or more, with --rounds 1 or more")
    path = config.out or Path("accuracy-speed.png")
    if drawn:
        check_writable(path, *PICTURES)
    return path if drawn else None


def evaluate(classifier: Classifier, bad_files: BadFiles, model: Pretrained, config: Config) -> Tally:
    """Classify all images."""
    here = World(0, 1, model.device)
    return count_right(
        classifier, bad_files, model.facts, here, config.shown.workers, config.batch_size or large_batch(model.device)
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
    models: dict[float, Classifier], tallies: dict[float, Tally], model: Pretrained, config: Config
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


def report(config: Config, model: Pretrained, rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    facts, speeds = model.facts, speeds_of(rows)
    criterion = config.criterion or facts.criterion
    if config.json:
        named = {"weights": config.model.weights, "data": config.data, "model": facts.encoder.model}
        named |= {"criterion": criterion, "pool_dropped": facts.pool_dropped}
        machine = {"device": str(model.device), "precision": "fp32", "threads": torch.get_num_threads()}
        as_json(named | machine | {"rows": rows})
        return
    shown = f"{rows[0]['images']} images in {len(facts.classes or ())} classes"
    rule = "" if criterion == "mean-similarity" else f", dropped by {criterion}"
    rule += ", dropped tokens pooled" if facts.pool_dropped else ""
    title = f"{facts.encoder.model}, {shown}, float32 on {model.device}{rule}"
    columns = ["drop ratio", "top-1", "top-5", "GMACs", *(f"images/s, {name}" for name in speeds)]
    lines = [
        [f"{row['drop_ratio']:g}", f"{row['top1']:.2%}", f"{row['top5']:.2%}", f"{row['gmacs']:.3g}"]
        + [f"{speed[place]:.4g} ({speed[place] / speed[0]:.2f}x)" for speed in speeds.values()]
        for place, row in enumerate(rows)
    ]
    table(title, columns, lines)


def draw(
    config: Config, picture: Path | None, model: Pretrained, rows: list[dict[str, Any]], tallies: dict[float, Tally]
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
