"""`pcae finetune`: a pre-trained encoder becomes a classifier whose speed can be chosen."""

from pcae.runs.finetuning import choose_recipe, train_and_report
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.terminal import as_json, console
from pcae.training.distributed import open_world

__all__ = ["choose_recipe", "run"]


def run(config: FinetuneConfig) -> None:
    """Fine-tune, and say where everything lies."""
    with open_world(config.run.device) as world:
        summary = train_and_report(config, world)
        if world.is_main and config.json:
            as_json(summary)
        elif world.is_main:
            console.print(
                f"done: {summary['top1']:.2%} of {summary['held_out']} held-out images right at drop ratio "
                f"{summary['drop_ratio']:g} (best {summary['best_top1']:.2%}); weights in {summary['weights']}, "
                "everything else beside it"
            )
