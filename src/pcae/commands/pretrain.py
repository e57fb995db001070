"""`pcae pretrain`: self-supervised pre-training on images without labels."""

from pcae.runs.dry_run import show_forecast
from pcae.runs.pretraining import choose_recipe, train_and_report
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.terminal import as_json, console
from pcae.training.distributed import open_world

__all__ = ["choose_recipe", "run"]


def run(config: PretrainConfig) -> None:
    """Pre-train, and say where everything lies."""
    with open_world(config.run.device) as world:
        summary = train_and_report(config, world)
        if world.is_main and config.dry_run:
            show_forecast(summary, config.json)
        elif world.is_main and config.json:
            as_json(summary)
        elif world.is_main:
            console.print(f"done: weights in {summary['weights']}, everything else beside it")
