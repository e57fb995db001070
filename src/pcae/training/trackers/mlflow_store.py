"""MLflow by its own client: settings, numbers, warnings and pictures of a run."""

import os
import re
import time
from importlib import import_module
from typing import Any

from pcae.training.callbacks import RunFacts, Tracker
from pcae.training.trackers.remembered import pictures_in, remember, remembered

NAME = "mlflow"
AT_ONCE = 100
"""Settings that a store takes in one call."""
LONGEST = 500
"""Characters of a setting that every release takes."""


class MlflowStore(Tracker):
    """A run named as the run folder, where its id stands: what goes on is the same run.

    Where it is kept is said by MLflow's own variables: MLFLOW_TRACKING_URI, and MLFLOW_EXPERIMENT_NAME, else pcae.
    """

    pictures = True

    def on_start(self, run: RunFacts) -> None:
        """Begin the run, or go on with it. Settings are written once, when it begins; MLflow does not change them."""
        self.folder = run.folder
        self.entities, tracking = import_module("mlflow.entities"), import_module("mlflow.tracking")
        self.client: Any = tracking.MlflowClient()
        known = remembered(run.folder, NAME)
        self.run = known or self.begin(run)
        self.client.update_run(self.run, status="RUNNING")
        self.client.log_artifact(self.run, str(run.folder / "config.yaml"))

    def begin(self, run: RunFacts) -> str:
        """A new run with these settings; returns its id."""
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "pcae")
        found = self.client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else self.client.create_experiment(experiment)
        made = self.client.create_run(place, run_name=run.folder.resolve().name).info.run_id
        settings = [self.entities.Param(name, str(value)[:LONGEST]) for name, value in run.config.items()]
        for first in range(0, len(settings), AT_ONCE):
            self.client.log_batch(made, params=settings[first : first + AT_ONCE])
        remember(run.folder, NAME, made)
        return made

    def on_step(self, step: int, numbers: dict[str, int | float]) -> None:
        """Log the numbers."""
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run, metrics=[self.entities.Metric(allowed(name), value, now, step) for name, value in numbers.items()]
        )

    def on_warning(self, step: int, name: str, sentence: str) -> None:
        """Leave the sentence as a tag of the run."""
        self.client.set_tag(self.run, allowed(f"warnings/{name}"), sentence)

    def on_end(self, summary: dict[str, Any]) -> None:
        """Keep the summary and the pictures."""
        for path in (self.folder / "summary.json", *pictures_in(self.folder).values()):
            self.client.log_artifact(self.run, str(path))

    def close(self, *, failed: bool) -> None:
        """Say how the run ended."""
        self.client.set_terminated(self.run, "FAILED" if failed else "FINISHED")


def allowed(name: str) -> str:
    """A name as MLflow takes it: what it refuses becomes an underscore."""
    return re.sub(r"[^/\w.\- :]", "_", name)
