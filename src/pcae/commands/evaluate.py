"""`pcae evaluate`: accuracy and speed of a classifier at one or more drop ratios."""

from typing import Any

import torch

from pcae.data.tables.labelled import for_classifier
from pcae.inference.evaluate import check, cost_of, draw, evaluate, measure_all, picture_of, speeds_of
from pcae.inference.trained import open_shown, open_trained
from pcae.model.pretrained import Pretrained
from pcae.settings.verbs.evaluate import EvaluateConfig
from pcae.tasks.dial import grid
from pcae.terminal import as_json, console, table


def run(config: EvaluateConfig) -> None:
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


def report(config: EvaluateConfig, model: Pretrained, rows: list[dict[str, Any]]) -> None:
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
