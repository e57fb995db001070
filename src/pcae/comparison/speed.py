"""Speed, memory and arithmetic of contenders, all of them taking turns in one run."""

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
from pcae.tasks.dial import parse_drop_ratio
from pcae.training.distributed import World
from pcae.training.optimizer import build_optimizer
from pcae.training.plan import autocast_dtype
from pcae.writing import replace_text

Made = TypeVar("Made")
Values = dict[str, dict[str, float]]
"""What was measured, by contender."""
SECONDS = "seconds_per_step"
"""Of training, which turns a budget of seconds into steps."""
SPEED_MEASURES = {
    "training_images_per_second", "peak_memory", "training_gmacs", "inference_images_per_second", "inference_gmacs",
    SECONDS,
}  # fmt: skip
LENGTH = {"epochs", "steps", "seed", "warmup_epochs", "base_lr", "mean", "std"}
"""Settings that change neither speed nor memory."""


@dataclass(frozen=True)
class Subject:
    """A contender that is measured: what it begins with, the classes of its classifier, the processes it trains on."""

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

    def inference(self, device: torch.device) -> Callable[[], Tensor]:
        """Classifies a batch of made-up images, with random weights."""
        config = self.classifier_config
        vit = create_vit(config, channels=config.channels or 3, num_classes=self.classes)
        model: nn.Module = reduce(vit, self.drop_ratio, self.cell.finetune.task.criterion).to(device).eval()
        call = partial(model, torch.randn(large_batch(device), config.channels or 3, *config.image_size).to(device))
        return torch.inference_mode()(call)


@dataclass(frozen=True)
class InTraining:
    """A contender in training on a process's micro-batch."""

    stepper: Stepper
    processes: int
    accumulation: int


def in_training(subject: Subject, device: torch.device) -> InTraining:
    """A contender's method and optimizer, at work on made-up images."""
    config, initial = subject.cell.pretrain, subject.initial
    torch.manual_seed(0)
    method = initial_method(initial, config.method, config.decoder)[0].to(device)
    batch = config.run.batch_size // (config.run.accumulation * subject.processes)
    images = torch.randn(batch, initial.encoder.channels or 3, *initial.encoder.image_size).to(device)
    precision = autocast_dtype(config.run.precision, device)
    stepper = Stepper(method, build_optimizer(method, config.optimizer), images, precision)
    return InTraining(stepper, subject.processes, config.run.accumulation)


def measure_speeds(
    cells: list[Cell], wanted: set[str], rounds: int, at: Conditions, folder: Path, world: World
) -> tuple[Values, dict[str, str]]:
    """Speed, memory and arithmetic by contender, from the folder's file where they were measured already.

    And why contenders have none: then nothing is kept, so that they are tried again.
    """
    wanted = wanted & SPEED_MEASURES
    if not wanted:
        return {}, {}
    asked = {
        "rows": {cell.contender.name: key_of(cell, at, world) for cell in cells},
        "measures": sorted(wanted),
        "rounds": rounds,
        **machine(world.device),
    }
    path = folder / f"pace-{digest_of(asked)}.json"
    if path.is_file():
        return read_values(path, [cell.contender.name for cell in cells]), {}
    found, failures = measure(cells, wanted, rounds, at, world)
    values = {name: {key: of[name] for key, of in found.items() if name in of} for name in asked["rows"]}
    if not failures:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps({"values": values, **asked}, indent=2) + "\n")
    return values, failures


def read_values(path: Path, names: list[str]) -> Values:
    """What was measured, from its file. Raises ValueError when it is damaged."""
    try:
        values = json.loads(path.read_text("utf-8"))["values"]
        return {name: {key: float(value) for key, value in values[name].items()} for name in names}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged; remove it to have speeds measured again") from error


def key_of(cell: Cell, at: Conditions, world: World) -> dict[str, Any]:
    """All that decides speed, memory and arithmetic of a contender."""
    return {
        "trained": cell.contender.trained,
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
        cell.folder.mkdir(parents=True, exist_ok=True)
        kept = {"steps": max(1, round(seconds / step)), SECONDS: step, **machine(world.device), **asked}
        replace_text(path, json.dumps(kept, indent=2) + "\n")
    try:
        return int(json.loads(path.read_text("utf-8"))["steps"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged; remove it to have the number of steps decided again") from error


def measure(
    cells: list[Cell], wanted: set[str], rounds: int, at: Conditions, world: World
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """The values, by what they are and by contender; and why some contenders lack some."""
    failures: dict[str, str] = {}
    attempt = partial(attempted, failures)
    subjects = attempt({cell.contender.name: cell for cell in cells}, lambda cell: subject_of(cell, at, world))
    trained = {name: subject for name, subject in subjects.items() if subject.cell.contender.trained}
    found: dict[str, dict[str, float]] = {}
    if "training_gmacs" in wanted:
        found["training_gmacs"] = attempt(trained, Subject.training_gmacs)
    if "inference_gmacs" in wanted:
        found["inference_gmacs"] = attempt(subjects, Subject.inference_gmacs)
    if wanted & {"training_images_per_second", "peak_memory", SECONDS}:
        trainings = attempt(trained, lambda subject: in_training(subject, world.device))
        found["peak_memory"] = attempt(trainings, lambda training: training.stepper.peak())
        found |= training_paces(trainings, rounds, world.device)
    if "inference_images_per_second" in wanted:
        calls = attempt(subjects, lambda subject: subject.inference(world.device))
        spent = turns(calls, world.device, rounds)
        found["inference_images_per_second"] = {
            name: large_batch(world.device) / median(seconds) for name, seconds in spent.items()
        }
    return {key: values for key, values in found.items() if key in wanted}, failures


def attempted(failures: dict[str, str], given: Mapping[str, Any], make: Callable[[Any], Made]) -> dict[str, Made]:
    """What is made of each, by contender; where that fails it has none, and the reason is in `failures`."""
    made = {}
    for name, value in given.items():
        try:
            made[name] = make(value)
        except Exception as error:  # whatever a row fails by, the others are measured
            failures[name] = f"speed: {type(error).__name__}: {' '.join(str(error).split())}"
    return made


def subject_of(cell: Cell, at: Conditions, world: World) -> Subject:
    """A contender with its network."""
    config = cell.pretrain
    initial = load_initial(config.encoder, config.reading, config.init, config.teacher)
    encoder = replace(initial.encoder, channels=initial.encoder.channels or at.channels)
    return Subject(cell, replace(initial, encoder=encoder), at.classes, world.size)


def training_paces(trainings: Mapping[str, InTraining], rounds: int, device: torch.device) -> Values:
    """Images per second over all processes, and seconds of a step with all its micro-batches."""
    spent = turns({name: training.stepper.step for name, training in trainings.items()}, device, rounds)
    usual = {name: median(seconds) for name, seconds in spent.items()}
    return {
        "training_images_per_second": {
            name: trainings[name].stepper.batch * trainings[name].processes / seconds for name, seconds in usual.items()
        },
        SECONDS: {name: trainings[name].accumulation * seconds for name, seconds in usual.items()},
    }
