"""The runs of a cell: pre-training of so many steps, fine-tuning of so many, and what they get right."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcae.comparison.cell import leave_untrained
from pcae.comparison.worth.drawn import Drawn
from pcae.comparison.worth.features import Answers, Seen, as_taken, look, probed
from pcae.comparison.worth.rows import Row
from pcae.data.unreadable import BadFiles
from pcae.inference.held_out import classify
from pcae.runs import finetuning, finetuning_task, pretraining
from pcae.runs.dry_run import time_steps
from pcae.settings.recipes import configure
from pcae.settings.verbs.compare import WorthConfig
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.training.distributed import World
from pcae.weights.files import load

MOST_EPOCHS = 200
"""Passes of fine-tuning through the labelled images, at most: a GPU makes them in a moment."""
TUNING_BATCH = 32
"""Images of a step of fine-tuning, at most."""

SLOW = 4.0
"""Seconds of a first look at a run's speed from which on no more steps are timed."""


@dataclass(frozen=True)
class Runs:
    """What all runs share: settings, device, and the folder they lie in."""

    config: WorthConfig
    world: World
    folder: Path

    def pretraining(self, row: Row, drawn: Drawn, steps: int, name: str) -> PretrainConfig:
        """The pre-training of a row. name: of its folder."""
        settings = {name: value for name, value in row.pretrain.items() if name != "batch_size"}
        more = self.config.unlabelled
        config = self.configured(
            PretrainConfig, pretraining.choose_recipe, name, drawn.unlabelled(more), steps, drawn.seed, **settings
        )
        images = len(drawn.train) + len(drawn.rest or ())
        most = row.pretrain.get("batch_size", config.run.batch_size)
        batch = min(most, images) if more is None else most
        optimizer = replace(config.optimizer, warmup_epochs=None)
        health = replace(config.health, health_every=0, knn_data=None)
        return replace(config, optimizer=optimizer, health=health, run=replace(config.run, batch_size=batch))

    def tuning(self, row: Row, drawn: Drawn, weights: str, steps: int, name: str) -> FinetuneConfig:
        """The fine-tuning of a row from its weights: by finetune-small, where random ones all learn alike fast."""
        own: dict[str, Any] = {"layer_decay": 1.0} if row.kind == "random" else {}
        if row.kind in ("given", "continued") and self.config.image_size is not None:
            own["image_size"] = list(self.config.image_size)
        batch = max(2, min(TUNING_BATCH, len(drawn.train) // 2 * 2))
        return self.configured(
            FinetuneConfig, finetuning.choose_recipe, name, drawn.labelled(), steps, drawn.seed,
            recipe="finetune-small", weights=weights, evaluate_every=steps, batch_size=batch, **own,
        )  # fmt: skip

    def configured(
        self, cls: Any, choose: Callable[[Any], str], name: str, data: Any, steps: int, seed: int, **own: Any
    ) -> Any:
        """The settings of a run."""
        shared = {"device": self.config.device, "workers": self.config.workers, "log_to": ["none"]}
        out = str(self.folder / "runs" / name)
        return configure(cls, "worth", choose, data=data, out=out, steps=steps, seed=seed, **own, **shared)

    def untrained(self, row: Row, drawn: Drawn, name: str) -> Path:
        """The folder of a new network as it begins."""
        config = self.pretraining(row, drawn, 1, name)
        leave_untrained(config, self.world)
        return config.out

    def pretrained(self, config: PretrainConfig) -> float:
        """Pre-train; returns the seconds of training."""
        return float(pretraining.train(config, self.world)["seconds"])

    def features(self, row: Row, weights: str | Path, drawn: Drawn, seen: Seen | None = None) -> Answers:
        """What probes of frozen weights get right. seen: features of images that were looked at before."""
        seen = Seen() if seen is None else seen
        model = load(weights, self.world.device, self.config.image_size)
        for images in (drawn.train, drawn.held_out):
            look(seen, model, images, self.config.workers, both=row.weights is not None)
        return probed(seen, list(seen.pooled), drawn, self.world.device)

    def tuned(self, config: FinetuneConfig, drawn: Drawn) -> tuple[float, Answers]:
        """Fine-tune; returns the seconds of training, and what the classifier gets right at the end."""
        seconds = float(finetuning.train(config, self.world)["seconds"])
        model, right = load(config.out, self.world.device), np.zeros(len(drawn.held_out), dtype=bool)
        labels = torch.tensor(list(drawn.held_out.labels or ()))

        def watch(logits: Tensor, places: list[int]) -> None:
            right[places] = (logits.argmax(dim=1) == labels[places]).numpy()

        held_out = BadFiles(as_taken(model, drawn.held_out), 0.0)
        classify(model.classifier(0.0), held_out, model.facts, self.world, self.config.workers, watch=watch)
        return seconds, {"finetuned": right}

    def step_of_pretraining(self, config: PretrainConfig) -> float:
        """Seconds of a step, measured by a few that leave nothing."""
        return self.seconds_of_step(pretraining.build_task(config, self.world))

    def step_of_tuning(self, config: FinetuneConfig) -> float:
        """The same of fine-tuning."""
        return self.seconds_of_step(finetuning_task.build_task(config, self.world))

    def seconds_of_step(self, task: Any) -> float:
        """Seconds of a step of a run: of a slow one fewer are timed."""
        began = time.perf_counter()
        once = time_steps(task.run, task.batches(), warm_up=1, timed=1)
        if time.perf_counter() - began > SLOW:
            return task.run.plan.batch_size / once["images_per_second"]
        timed = time_steps(task.run, task.batches(), warm_up=1, timed=4)
        return task.run.plan.batch_size / timed["images_per_second"]
