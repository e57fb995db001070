"""Weights & Biases by its own client: settings, numbers, warnings and pictures of a run."""

import os
import secrets
from importlib import import_module
from typing import Any

from pcae.training.callbacks import RunFacts, Tracker
from pcae.training.trackers.remembered import pictures_in, remember, remembered

NAME = "wandb"
STEP = "step"
"""The number that all others are drawn over. W&B's own count of calls only rises, and takes nothing for a step that it
had before; a run that goes back does."""


class WeightsAndBiases(Tracker):
    """A run named as the run folder, whose id stands there: what goes on is the same run.

    Project, entity and mode are said by W&B's own variables, such as WANDB_PROJECT (else pcae) and WANDB_MODE=offline.
    Its files go into the run folder, unless WANDB_DIR says otherwise.
    """

    pictures = True

    def on_start(self, run: RunFacts) -> None:
        """Begin the run, or go on with it."""
        self.folder, self.client = run.folder, import_module(NAME)
        name = remembered(run.folder, NAME) or secrets.token_hex(4)
        self.run: Any = self.client.init(
            project=os.environ.get("WANDB_PROJECT", "pcae"),
            dir=os.environ.get("WANDB_DIR", str(run.folder)),
            id=name,
            name=run.folder.resolve().name,
            config=run.config,
            resume="allow",
            allow_val_change=True,  # such as log_every, when the run goes on
            reinit="create_new",  # a run of the caller's own stays what it is
        )
        remember(run.folder, NAME, name)
        self.run.define_metric(STEP, hidden=True)
        self.run.define_metric("*", step_metric=STEP)

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        """Log the numbers."""
        self.run.log({STEP: step, **numbers})

    def on_warning(self, step: int, name: str, sentence: str) -> None:
        """Send an alert, and leave the sentence in the run's summary."""
        self.run.alert(title=name, text=sentence, level="WARN", wait_duration=0)
        self.run.summary[f"warnings/{name}"] = sentence

    def on_end(self, summary: dict[str, Any]) -> None:
        """Write the summary, and log the pictures."""
        pictures = {name: self.client.Image(str(path)) for name, path in pictures_in(self.folder).items()}
        self.run.log({STEP: summary["steps"], **pictures})
        self.run.summary.update({f"final/{name}": value for name, value in summary.items()})

    def close(self, *, failed: bool) -> None:
        """Finish."""
        self.run.finish(exit_code=int(failed))
