"""Speed, memory and arithmetic of contenders, all of them taking turns in one run."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pcae.commands.cell import Cell, machine
from pcae.commands.contenders import digest_of
from pcae.commands.init import Beginning, begin, find_beginning
from pcae.commands.report import warn
from pcae.evaluation.cost import inference_cost, pretraining_cost
from pcae.evaluation.memory import peak_bytes
from pcae.evaluation.throughput import take_turns, turns
from pcae.model.encoder import create_vit
from pcae.model.reduced import reduce
from pcae.tasks.dial import parse_drop_ratio
from pcae.training.checkpoint import replace_text
from pcae.training.loop import Progress, loop
from pcae.training.optimizer import build_optimizer
from pcae.training.plan import autocast_dtype
from pcae.training.randomness import Draw, randomness

Made = TypeVar("Made")
INFERENCE_BATCH = {"cpu": 16}
"""Images that are classified at once, by device; 256 elsewhere."""
SECONDS = "seconds_per_step"
"""Of training, which turns a budget of seconds into steps."""
OF_PACE = {
    "training_images_per_second", "peak_memory", "training_gmacs", "inference_images_per_second", "inference_gmacs",
    SECONDS,
}  # fmt: skip
LENGTH = {"epochs", "steps", "seed", "warmup_epochs", "base_lr", "mean", "std", "data"}
"""Settings that change neither speed nor memory."""


@dataclass(frozen=True)
class Subject:
    """A contender that is measured, and the network that it begins with."""

    cell: Cell
    beginning: Beginning

    @property
    def drop_ratio(self) -> float:
        """Of its classifier."""
        return parse_drop_ratio(self.cell.finetune.task.drop_ratio)[0]

    def training_gmacs(self) -> float:
        """10^9 multiply-accumulates of a training image."""
        config, teacher = self.cell.pretrain, self.beginning.teacher
        size = self.beginning.encoder.image_size
        fixed = replace(teacher.facts.encoder, image_size=size) if teacher else None
        return pretraining_cost(self.beginning.encoder, config.method, config.decoder, fixed)["training_gmacs"]

    def inference_gmacs(self) -> float:
        """10^9 multiply-accumulates of classifying an image."""
        return inference_cost(self.beginning.encoder, self.drop_ratio)["gmacs"]

    def classifier(self, device: torch.device) -> nn.Module:
        """A classifier of its architecture."""
        encoder = self.beginning.encoder
        return reduce(create_vit(encoder, channels=encoder.channels or 3), self.drop_ratio).to(device).eval()


class InTraining:
    """A contender's method and optimizer, on made-up images of a micro-batch."""

    def __init__(self, subject: Subject, device: torch.device) -> None:
        config, beginning = subject.cell.pretrain, subject.beginning
        torch.manual_seed(0)
        self.method = begin(beginning, config.method, config.decoder)[0].to(device)
        self.optimizer = build_optimizer(self.method, config.optimizer)
        self.accumulation = config.run.accumulation
        self.batch = config.run.batch_size // self.accumulation
        shape = (beginning.encoder.channels or 3, *beginning.encoder.image_size)
        self.images, self.progress = torch.randn(self.batch, *shape).to(device), Progress(0)
        self.autocast = autocast_dtype(config.run.precision, device)
        self.step()

    def step(self) -> None:
        """One step of the very loop that trains, on one micro-batch."""
        self.progress.steps += 1
        loop(self.method, self.stream(), self.optimizer, lambda _: 1e-6, self.progress, [], autocast=self.autocast)

    def stream(self) -> Iterator[tuple[Tensor, Draw]]:
        """The same images in every step."""
        while True:
            yield self.images, randomness(0, self.progress.step, self.batch, self.images.device)

    def peak(self) -> int:
        """Bytes at the peak of a step."""
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        held = [self.images, *self.method.parameters(), *self.method.buffers(), *states]
        return peak_bytes(self.step, held, self.images.device)


def paces(
    cells: list[Cell], wanted: set[str], rounds: int, channels: int, folder: Path, device: torch.device
) -> dict[str, dict[str, float]]:
    """Speed, memory and arithmetic by contender, from the folder's file where they were measured already.

    channels: of the images. A contender that cannot be built has none, and the reason is said.
    """
    wanted = wanted & OF_PACE
    if not wanted:
        return {}
    asked = {
        "rows": {cell.contender.name: key_of(cell) for cell in cells},
        "measures": sorted(wanted),
        "rounds": rounds,
        **machine(device),
    }
    path = folder / f"pace-{digest_of(asked)}.json"
    if not path.is_file():
        found = measure(cells, wanted, rounds, channels, device)
        values = {name: {key: of[name] for key, of in found.items() if name in of} for name in asked["rows"]}
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps({"values": values, **asked}, indent=2) + "\n")
    return json.loads(path.read_text("utf-8"))["values"]


def key_of(cell: Cell) -> dict[str, Any]:
    """All that decides speed, memory and arithmetic of a contender."""
    pretraining = {name: value for name, value in cell.settings["pretrain"].items() if name not in LENGTH}
    return {"trained": cell.contender.trained, "drop_ratio": cell.finetune.task.drop_ratio, "pretrain": pretraining}


def measure(
    cells: list[Cell], wanted: set[str], rounds: int, channels: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """The values, by what they are and by contender."""
    subjects = attempted({cell.contender.name: cell for cell in cells}, lambda cell: subject_of(cell, channels))
    trained = {name: subject for name, subject in subjects.items() if subject.cell.contender.trained}
    found: dict[str, dict[str, float]] = {}
    if "training_gmacs" in wanted:
        found["training_gmacs"] = attempted(trained, Subject.training_gmacs)
    if wanted & {"training_images_per_second", "peak_memory", SECONDS}:
        found |= training_paces(attempted(trained, lambda subject: InTraining(subject, device)), rounds, device)
    if "inference_gmacs" in wanted:
        found["inference_gmacs"] = attempted(subjects, Subject.inference_gmacs)
    if "inference_images_per_second" in wanted:
        classifiers = attempted(subjects, lambda subject: subject.classifier(device))
        found["inference_images_per_second"] = inference_paces(classifiers, subjects, rounds, device)
    return {key: values for key, values in found.items() if key in wanted}


def attempted(given: Mapping[str, Any], make: Callable[[Any], Made]) -> dict[str, Made]:
    """What is made of each, by contender; where that fails it has none, and the reason is said."""
    made = {}
    for name, value in given.items():
        try:
            made[name] = make(value)
        except (ValueError, RuntimeError, MemoryError) as error:
            warn(f"{name}: not measured: {' '.join(str(error).split())}")
    return made


def subject_of(cell: Cell, channels: int) -> Subject:
    """A contender with its network, for images of so many channels."""
    config = cell.pretrain
    beginning = find_beginning(config.encoder, config.reading, config.init, config.teacher)
    return Subject(cell, replace(beginning, encoder=replace(beginning.encoder, channels=channels)))


def training_paces(
    trainings: Mapping[str, InTraining], rounds: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Bytes at the peak of a step, images per second, and seconds of a step with all its micro-batches."""
    peaks: dict[str, float] = {name: float(training.peak()) for name, training in trainings.items()}
    spent = turns({name: training.step for name, training in trainings.items()}, device, rounds)
    usual = {name: median(seconds) for name, seconds in spent.items()}
    return {
        "peak_memory": peaks,
        "training_images_per_second": {name: trainings[name].batch / seconds for name, seconds in usual.items()},
        SECONDS: {name: trainings[name].accumulation * seconds for name, seconds in usual.items()},
    }


def inference_paces(
    classifiers: Mapping[str, nn.Module], subjects: Mapping[str, Subject], rounds: int, device: torch.device
) -> dict[str, float]:
    """Images per second. All have the same input: the first one's."""
    encoder = subjects[next(iter(classifiers))].beginning.encoder
    batch = INFERENCE_BATCH.get(device.type, 256)
    images = torch.randn(batch, encoder.channels or 3, *encoder.image_size).to(device)
    spent = take_turns(classifiers, images, rounds)
    return {name: batch / median(seconds) for name, seconds in spent.items()}
