"""Speed, memory and arithmetic of rows, all of them taking turns in one run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pcae.comparison.cell import Cell, machine
from pcae.comparison.rows import Conditions, digest_of
from pcae.evaluation.cost import inference_cost, pretraining_cost
from pcae.evaluation.stepper import Stepper
from pcae.evaluation.throughput import large_batch, turns
from pcae.model.encoder import create_vit
from pcae.model.reduced import reduce
from pcae.runs.initial_weights import InitialWeights, initial_method, load_initial
from pcae.settings.network import EncoderConfig
from pcae.tasks.classification import rule_of
from pcae.tasks.dial import parse_drop_ratio
from pcae.training.distributed import World
from pcae.training.optimizer import build_optimizer
from pcae.training.plan import autocast_dtype
from pcae.writing import replace_json

Made = TypeVar("Made")
Values = dict[str, dict[str, float]]
"""What was measured, by row."""
SECONDS = "seconds_per_step"
"""Of training, which turns a budget of seconds into steps."""
SPEED_MEASURES = {
    "training_images_per_second", "peak_memory", "training_gmacs", "inference_images_per_second", "inference_gmacs",
    SECONDS,
}  # fmt: skip
LENGTH = {"epochs", "steps", "seed", "warmup_epochs", "base_lr", "mean", "std"}
"""Settings that change neither speed nor memory."""


@dataclass(frozen=True)
class MeasuredRow:
    """A row that is measured: what it begins with, the classes of its classifier, the processes it trains on."""

    cell: Cell
    initial: InitialWeights
    classes: int
    processes: int

    @property
    def classifier_config(self) -> EncoderConfig:
        """The network that is fine-tuned, at its image size."""
        encoder = self.initial.encoder
        return replace(encoder, image_size=self.cell.finetune.network.image_size or encoder.image_size)

    @property
    def drop_ratio(self) -> float:
        """Of its classifier."""
        return parse_drop_ratio(self.cell.finetune.task.drop_ratio)[0]

    def training_gmacs(self) -> float:
        """10^9 multiply-accumulates of a training image."""
        config, teacher = self.cell.pretrain, self.initial.teacher
        size = self.initial.encoder.image_size
        fixed = replace(teacher.facts.encoder, image_size=size) if teacher else None
        return pretraining_cost(self.initial.encoder, config.method, config.decoder, fixed)["training_gmacs"]

    def inference_gmacs(self) -> float:
        """10^9 multiply-accumulates of classifying an image."""
        return inference_cost(self.classifier_config, self.drop_ratio, self.classes)["gmacs"]

    def training(self, device: torch.device) -> Stepper:
        """Its method and optimizer, at work on a process's micro-batch of made-up images."""
        config, initial = self.cell.pretrain, self.initial
        torch.manual_seed(0)
        method = initial_method(initial, config.method, config.decoder)[0].to(device)
        batch = config.run.batch_size // (config.run.accumulation * self.processes)
        images = torch.randn(batch, initial.encoder.channels or 3, *initial.encoder.image_size).to(device)
        precision = autocast_dtype(config.run.precision, device)
        return Stepper(method, build_optimizer(method, config.optimizer), images, precision)

    def inference(self, device: torch.device) -> Callable[[], Tensor]:
        """Classifies a batch of made-up images, with random weights."""
        config = self.classifier_config
        vit = create_vit(config, channels=config.channels or 3, num_classes=self.classes)
        model: nn.Module = reduce(vit, self.drop_ratio, **vars(rule_of(self.cell.finetune.task))).to(device).eval()
        call = partial(model, torch.randn(large_batch(device), config.channels or 3, *config.image_size).to(device))
        return torch.inference_mode()(call)


def measure_speeds(
    cells: list[Cell], wanted: set[str], rounds: int, at: Conditions, world: World
) -> tuple[Values, dict[str, str]]:
    """Speed, memory and arithmetic by row, from the file beside the cells where they were measured already.

    And why rows have none: then nothing is kept, so that they are tried again.
    """
    wanted = wanted & SPEED_MEASURES
    if not (wanted and cells):
        return {}, {}
    asked = {
        "rows": {cell.row.name: key_of(cell, at, world) for cell in cells},
        "measures": sorted(wanted),
        "rounds": rounds,
        **machine(world.device),
    }
    path = cells[0].folder / f"pace-{digest_of(asked)}.json"
    if path.is_file():
        return read_values(path, list(asked["rows"])), {}
    found, failures = measure(cells, wanted, rounds, at, world)
    values = {name: {key: of[name] for key, of in found.items() if name in of} for name in asked["rows"]}
    if not failures:
        replace_json(path, {"values": values, **asked})
    return values, failures


def read_values(path: Path, names: list[str]) -> Values:
    """What was measured, from its file. Raises ValueError when it is damaged."""
    try:
        values = json.loads(path.read_text("utf-8"))["values"]
        return {name: {key: float(value) for key, value in values[name].items()} for name in names}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged; remove it to have speeds measured again") from error


def key_of(cell: Cell, at: Conditions, world: World) -> dict[str, Any]:
    """All that decides speed, memory and arithmetic of a row."""
    return {
        "trained": cell.row.trained,
        "processes": world.size,
        "accumulation": at.accumulation,
        "channels": cell.pretrain.encoder.channels or at.channels,
        "classes": at.classes,
        "drop_ratio": cell.finetune.task.drop_ratio,
        "image_size": cell.finetune.network.image_size,
        "pretrain": {name: value for name, value in cell.settings["pretrain"].items() if name not in LENGTH},
    }


def steps_within(cell: Cell, seconds: float, step: float, at: Conditions, world: World) -> int:
    """Steps that take so many seconds; decided once, and kept, so that a finished cell is not run again.

    Raises ValueError when the file that keeps it is damaged.
    """
    asked = {"seconds": seconds, "row": key_of(cell, at, world)}
    path = cell.folder / f"steps-{digest_of(asked)}.json"
    if not path.is_file():
        replace_json(path, {"steps": max(1, round(seconds / step)), SECONDS: step, **machine(world.device), **asked})
    try:
        return int(json.loads(path.read_text("utf-8"))["steps"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged; remove it to have the number of steps decided again") from error


def measure(
    cells: list[Cell], wanted: set[str], rounds: int, at: Conditions, world: World
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """The values, by what they are and by row; and why some rows lack some."""
    failures: dict[str, str] = {}
    attempt = partial(attempted, failures)
    rows = attempt({cell.row.name: cell for cell in cells}, lambda cell: measured_row(cell, at, world))
    trained = {name: row for name, row in rows.items() if row.cell.row.trained}
    found: dict[str, dict[str, float]] = {}
    if "training_gmacs" in wanted:
        found["training_gmacs"] = attempt(trained, MeasuredRow.training_gmacs)
    if "inference_gmacs" in wanted:
        found["inference_gmacs"] = attempt(rows, MeasuredRow.inference_gmacs)
    if wanted & {"training_images_per_second", "peak_memory", SECONDS}:
        steppers = attempt(trained, lambda row: row.training(world.device))
        found["peak_memory"] = attempt(steppers, Stepper.peak)
        found |= training_speeds(rows, steppers, rounds, world.device)
    if "inference_images_per_second" in wanted:
        calls = attempt(rows, lambda row: row.inference(world.device))
        images = large_batch(world.device)
        spent = turns(calls, world.device, rounds)
        found["inference_images_per_second"] = {name: images / median(seconds) for name, seconds in spent.items()}
    return {key: values for key, values in found.items() if key in wanted}, failures


def attempted(failures: dict[str, str], given: Mapping[str, Any], make: Callable[[Any], Made]) -> dict[str, Made]:
    """What is made of each, by row; where that fails it has none, and the reason is in `failures`."""
    made = {}
    for name, value in given.items():
        try:
            made[name] = make(value)
        except Exception as error:  # whatever a row fails by, the others are measured
            failures[name] = f"speed: {type(error).__name__}: {' '.join(str(error).split())}"
    return made


def measured_row(cell: Cell, at: Conditions, world: World) -> MeasuredRow:
    """A row with its network."""
    config = cell.pretrain
    initial = load_initial(config.encoder, config.reading, config.init, config.teacher)
    encoder = replace(initial.encoder, channels=initial.encoder.channels or at.channels)
    return MeasuredRow(cell, replace(initial, encoder=encoder), at.classes, world.size)


def training_speeds(
    rows: Mapping[str, MeasuredRow], steppers: Mapping[str, Stepper], rounds: int, device: torch.device
) -> Values:
    """Images per second over all processes, and seconds of a step with all its micro-batches."""
    spent = turns({name: stepper.step for name, stepper in steppers.items()}, device, rounds)
    usual = {name: median(seconds) for name, seconds in spent.items()}
    return {
        "training_images_per_second": {
            name: steppers[name].batch * rows[name].processes / seconds for name, seconds in usual.items()
        },
        SECONDS: {name: rows[name].cell.pretrain.run.accumulation * seconds for name, seconds in usual.items()},
    }
