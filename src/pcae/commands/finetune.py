"""`pcae finetune`: a pre-trained encoder becomes a classifier whose speed can be chosen."""

from typing import Any

from pcae.evaluation.estimates import in_percent
from pcae.results import print_result
from pcae.runs.finetuning import choose_recipe, train_and_report
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.terminal import answer, console

__all__ = ["choose_recipe", "run"]


def run(config: FinetuneConfig) -> None:
    """Fine-tune, and say how good it is and where everything lies; or with --dry-run what it would take."""
    answer(train_and_report(config), config.json, print_result if config.dry_run else show)


def show(summary: dict[str, Any]) -> None:
    """Say how good the classifier is, and where everything lies."""
    name = "map" if "map" in summary else "top1"
    said = {"map": "mAP {} of {} held-out images", "top1": "{} of {} held-out images right"}[name]
    share = in_percent(summary[name], summary.get("intervals", {}).get(name))
    right = said.format(share, summary["held_out"])
    at = f"at drop ratio {summary['drop_ratio']:g} (best {in_percent(summary[f'best_{name}'])})"
    console.print(f"done: {right} {at}; weights in {summary['weights']}, everything else beside it")
