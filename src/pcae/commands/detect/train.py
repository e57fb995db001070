"""`pcae detect train`: a pre-trained encoder becomes a detector that finds and cuts out objects."""

from functools import partial
from typing import Any

from pcae.pages.run_page import report_on
from pcae.runs.detection import attempt, choose_recipe
from pcae.runs.dry_run import show_forecast
from pcae.runs.roll_back import with_roll_backs
from pcae.settings.verbs.detect import DetectTrainConfig
from pcae.terminal import as_json, console
from pcae.training.distributed import open_world

__all__ = ["choose_recipe", "run"]


def run(config: DetectTrainConfig) -> None:
    """Train, and say where everything lies; or with --dry-run what it would take."""
    with open_world(config.run.device) as world:
        found = with_roll_backs(partial(attempt, world=world), config)
        if world.is_main and not config.dry_run:
            report_on(config.out)
        if world.is_main:
            show(found, config)


def show(found: dict[str, Any], config: DetectTrainConfig) -> None:
    """Print what came out."""
    if config.dry_run:
        show_forecast(found, config.json)
    elif config.json:
        as_json(found)
    else:
        figures = ", ".join(
            f"{kind} AP {100 * found[f'{kind}_ap']:.1f} (AP50 {100 * found[f'{kind}_ap50']:.1f})"
            for kind in ("box", "mask")
            if f"{kind}_ap" in found
        )
        console.print(
            f"done: {figures} on {found['held_out']} held-out images; detector in {found['weights']}, everything else "
            "beside it"
        )
