"""`pcae evaluate`: accuracy and speed of a classifier at one or more drop ratios."""

from pcae.inference.evaluate import Evaluated, evaluate_classifier
from pcae.settings.verbs.evaluate import EvaluateConfig
from pcae.terminal import answer, table


def run(config: EvaluateConfig) -> None:
    """Evaluate and print."""
    answer(evaluate_classifier(config), config.json, show)


def show(found: Evaluated) -> None:
    """Print a row for each drop ratio."""
    rule = "" if found.criterion == "mean-similarity" else f", dropped by {found.criterion}"
    rule += ", dropped tokens pooled" if found.pool_dropped else ""
    shown = f"{found.rows[0]['images']} images in {found.classes} classes"
    lines = [
        [f"{row['drop_ratio']:g}", f"{row['top1']:.2%}", f"{row['top5']:.2%}", f"{row['gmacs']:.3g}"]
        + [f"{speed[place]:.4g} ({speed[place] / speed[0]:.2f}x)" for speed in found.speeds.values()]
        for place, row in enumerate(found.rows)
    ]
    columns = ["drop ratio", "top-1", "top-5", "GMACs", *(f"images/s, batch {size}" for size in found.speeds)]
    table(f"{found.model}, {shown}, float32 on {found.device}{rule}", columns, lines)
