"""`pcae detect train`: a pre-trained encoder becomes a detector that finds and cuts out objects."""

from pcae.results import RunSummary, print_result
from pcae.runs.detection import choose_recipe, train_and_report
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.terminal import answer, console

__all__ = ["choose_recipe", "run"]


def run(config: DetectTrainConfig) -> None:
    """Train, and say where everything lies; or with --dry-run what it would take."""
    answer(train_and_report(config), config.json, print_result if config.dry_run else show)


def show(summary: RunSummary) -> None:
    """Say how good the detector is, and where everything lies."""
    kinds = [kind for kind in ("box", "mask") if f"{kind}_ap" in summary]
    aps = [f"{kind} AP {100 * summary[f'{kind}_ap']:.1f} (AP50 {100 * summary[f'{kind}_ap50']:.1f})" for kind in kinds]
    where = f"detector in {summary['weights']}, everything else beside it"
    console.print(f"done: {', '.join(aps)} on {summary['held_out']} held-out images; {where}")
