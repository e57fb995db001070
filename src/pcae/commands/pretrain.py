"""`pcae pretrain`: self-supervised pre-training on images without labels."""

from pcae.results import RunSummary, print_result
from pcae.runs.pretraining import choose_recipe, train_and_report
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.terminal import answer, console

__all__ = ["choose_recipe", "run"]


def run(config: PretrainConfig) -> None:
    """Pre-train, and say where everything lies; or with --dry-run what it would take."""
    answer(train_and_report(config), config.json, print_result if config.dry_run else show)


def show(summary: RunSummary) -> None:
    """Say where everything lies."""
    console.print(f"done: weights in {summary['weights']}, everything else beside it")
