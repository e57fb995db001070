"""One cell of a comparison, a row with a seed: its runs, and its values in a file of their own."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pcae.comparison.rows import (
    Conditions,
    Row,
    digest_of,
    finetune_config,
    pretrain_config,
    probe_config,
    result_settings,
)
from pcae.evaluation.throughput import device_name
from pcae.inference import probe
from pcae.runs import finetuning, pretraining
from pcae.settings.choices import Measure, Probe
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.verbs.probe import ProbeConfig
from pcae.terminal import console
from pcae.training.distributed import World
from pcae.weights.files import FILE, load
from pcae.writing import replace_json

PROBES: tuple[Probe, ...] = ("knn", "linear", "attentive")
OF_RUNS: tuple[Measure, ...] = (*PROBES, "finetuned", "seconds")
"""What is measured on a row's runs."""


@dataclass(frozen=True)
class Cell:
    """A row with a seed: its runs, the images' short name, and the folder of all cells."""

    row: Row
    seed: int
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    probe: ProbeConfig
    files: str
    folder: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides what comes out."""
        parts = {"pretrain": self.pretrain, "finetune": self.finetune, "probe": self.probe}
        settings = {name: result_settings(config) for name, config in parts.items()}
        return {"files": self.files, "trained": self.row.trained, **settings}

    @property
    def path(self) -> Path:
        """Its file, under whichever row's name it was measured."""
        end = f"seed{self.seed}-{digest_of(self.settings)}.json"
        return next(self.folder.glob(f"*{end}"), self.folder / f"{slug(self.row.name)}-{end}")

    def measured(self) -> dict[str, dict[str, Any]]:
        """What was measured already, each with where and when. Raises ValueError for a file that is damaged."""
        if not self.path.is_file():
            return {}
        try:
            found = json.loads(self.path.read_text("utf-8"))["measured"]
            return {name: {**entry, "value": float(entry["value"])} for name, entry in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path} is no whole cell; remove it to have it measured again") from error

    def add(self, values: dict[str, float], device: torch.device) -> None:
        """Keep more values, with what they are of and where and when they were measured."""
        now = {"date": datetime.now(UTC).date().isoformat(), **machine(device)}
        measured = self.measured() | {name: {"value": value, **now} for name, value in values.items()}
        described = {"row": self.row.name, "seed": self.seed, "measured": measured, "settings": self.settings}
        replace_json(self.path, described)


def slug(name: str) -> str:
    """A row's name as files have it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:60].strip("-") or "row"


def cell_of(row: Row, seed: int, at: Conditions, folder: Path, **budget: Any) -> Cell:
    """A cell. budget: steps or epochs over the row's own. Raises ValueError for settings that cannot be."""
    first = pretrain_config(row, at, seed, **budget)
    tuned = finetune_config(row, at, seed, first.out)
    return Cell(row, seed, first, tuned, probe_config(row, at, first.out), at.files, folder)


def machine(device: torch.device) -> dict[str, str | int]:
    """What measured."""
    said = f"{device.type}, {device_name(device)}"
    return {"device": said, "threads": torch.get_num_threads(), "torch": str(torch.__version__)}


def complete(cell: Cell, measures: tuple[Measure, ...], world: World) -> None:
    """Measure what the cell's file lacks, by runs that go on where they stopped; each value is kept once it is there.

    Every process calls it; the main one writes.
    """
    kept, of_runs = world.from_main(cell.measured), set(OF_RUNS) - (set() if cell.row.trained else {"seconds"})
    wanted: list[Measure] = [name for name in measures if name in of_runs and name not in kept]
    if wanted:
        with quiet():
            for values in measure_runs(cell, wanted, world):
                if world.is_main:
                    cell.add({name: value for name, value in values.items() if name in wanted}, world.device)


def measure_runs(cell: Cell, wanted: list[Measure], world: World) -> Iterator[dict[str, float]]:
    """What is wanted of a cell, run by run: pre-training and its seconds, probes, fine-tuning."""
    if cell.row.trained:
        yield {"seconds": pretraining.train(cell.pretrain, world)["seconds"]}
    else:
        leave_untrained(cell.pretrain, world)
    probes: tuple[Probe, ...] = tuple(name for name in PROBES if name in wanted)
    if probes:
        yield world.from_main(lambda: probed(cell.probe, probes, world))
    if "finetuned" in wanted:
        summary = finetuning.train(cell.finetune, world)
        yield {"finetuned": summary["map" if cell.finetune.labels.multi_label else "top1"]}


def leave_untrained(config: PretrainConfig, world: World) -> None:
    """Put the network as it begins into the run's folder, if it is not there yet."""
    if world.from_main((config.out / FILE).is_file):
        return
    task = pretraining.build_task(replace(config, health=replace(config.health, knn_data=None)), world)
    if world.is_main:
        config.out.mkdir(parents=True, exist_ok=True)
    task.save_weights()


def probed(config: ProbeConfig, probes: tuple[Probe, ...], world: World) -> dict[str, float]:
    """Accuracies of the probes on the mean of the patch tokens (the attentive one on all of them)."""
    asked = replace(config, probes=probes, pool=None if probes == ("attentive",) else ("mean",))
    probe.check(asked)
    found = probe.probe_model(asked, load(config.model.weights, world.device))
    return {row["probe"]: row["accuracy"] for row in found.probes}


@contextmanager
def quiet() -> Iterator[None]:
    """What the runs of a cell say stays in their folders."""
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = False
