"""`pcae finetune`: a pre-trained encoder becomes a classifier whose speed can be chosen."""

from typing import Any

from pcae.runs.finetuning import choose_recipe, train_and_report
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.terminal import answer, console

__all__ = ["choose_recipe", "run"]


def run(config: FinetuneConfig) -> None:
    """Fine-tune, and say how good it is and where everything lies."""
    answer(train_and_report(config), config.json, show)


def show(summary: dict[str, Any]) -> None:
    """Say how good the classifier is, and where everything lies."""
    right = f"{summary['top1']:.2%} of {summary['held_out']} held-out images right"
    at = f"at drop ratio {summary['drop_ratio']:g} (best {summary['best_top1']:.2%})"
    console.print(f"done: {right} {at}; weights in {summary['weights']}, everything else beside it")
