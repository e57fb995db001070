"""Looks at a run's health while it trains: the same images every time, numbers of them written down, a warning."""

import math

import torch
from jaxtyping import UInt8
from torch import Tensor

from pcae.data.augment import Normalise
from pcae.data.batches import whole_loader
from pcae.data.images import Images
from pcae.methods.choice import Pretraining
from pcae.methods.collapse import describe_data, find_faults
from pcae.methods.health import IMAGES, examine, most_directions
from pcae.model.compiled import uncompiled
from pcae.runs.run import TrainingRun
from pcae.settings.run import HealthConfig
from pcae.settings.values import flatten
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.terminal import bar, warn
from pcae.training.logging import Journal, read_metrics
from pcae.training.loop import Progress
from pcae.training.plan import Plan
from pcae.training.randomness import randomness

PretrainingRun = TrainingRun[PretrainConfig, Pretraining]
PREFIX = "health/"
"""What the names of these numbers begin with in metrics.jsonl and in TensorBoard."""
FOR_MANY = {"target_std", "position_share"}
"""Numbers that are not known for a few images."""
LEAST_STEPS = 100
IMAGES_TRAINED = 100
"""A look costs less than training on as many images; without an interval of its own, it is made once in so many times
as many, and at most once in `LEAST_STEPS`."""


def health_every(config: HealthConfig, plan: Plan) -> int:
    """Steps between looks."""
    if config.health_every is not None:
        return plan.steps_every(config.health_every)
    return max(LEAST_STEPS, math.ceil(IMAGES_TRAINED * min(IMAGES, plan.images) / plan.batch_size))


class Health:
    """A watcher of a pre-training run. Every process calls it, the main one looks; the others wait in their next step.

    It looks once before the first step. pixels: the images, on the run's device.
    records: the numbers of all looks so far. warnings: sentences of what looks wrong, each once.
    """

    def __init__(
        self,
        run: PretrainingRun,
        pixels: UInt8[Tensor, "images channels height width"],
        journal: Journal,
    ) -> None:
        self.run, self.pixels, self.journal, self.is_main = run, pixels, journal, run.world.is_main
        self.settings = flatten(run.config) | {"steps": run.plan.steps, "peak_lr": run.plan.peak_lr}
        before = run.world.from_main(lambda: read_metrics(run.config.out))
        self.records = [line for line in before if f"{PREFIX}student_std" in line]
        self.warnings = {line["warning"]: line["says"] for line in before if "warning" in line}
        for name, sentence in describe_data(pixels).items():
            self.tell(name, sentence, run.progress.step)
        if not self.records:
            self.watch(run.progress)

    def watch(self, progress: Progress) -> None:
        """Look, write it down, and warn of what was not warned of before."""
        with progress.no_training():
            whole = self.run.whole()
            numbers = {name: value.item() for name, value in self.measure(whole).items()} if self.is_main else {}
        if not self.is_main:
            return
        known = {name: value for name, value in numbers.items() if name not in FOR_MANY or not math.isnan(value)}
        record = {"step": progress.step, "skipped": progress.skipped.item()}
        record |= {PREFIX + name: value for name, value in known.items()}
        self.records.append(record)
        self.journal.note(record)
        most = most_directions(len(self.pixels), whole.student.width)
        self.journal.beside["rank"] = f"rank {numbers['student_rank']:.0f} of {most} at step {progress.step}"
        for name, sentence in find_faults(self.records, self.settings).items():
            self.tell(name, f"step {progress.step}: {sentence}", progress.step)

    def measure(self, method: Pretraining) -> dict[str, Tensor]:
        """The numbers of the weights as they are."""
        config, facts, device = self.run.config, self.run.facts, self.pixels.device
        normalise = Normalise(facts["mean"], facts["std"], self.pixels.shape[1]).to(device)
        random = randomness(config.run.seed, 0, len(self.pixels), device)
        size = 4 * self.run.plan.micro_batch  # fits where a step does, which keeps much more
        autocast = self.run.autocast
        method.eval()
        with uncompiled(), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            numbers = examine(method, self.pixels, normalise, random, size)
        method.train()
        return numbers

    def tell(self, name: str, sentence: str, step: int) -> None:
        """Warn, once of each thing, and write it down, in the main process."""
        if self.is_main and name not in self.warnings:
            self.warnings[name] = sentence
            self.journal.remark(step, name, sentence)
            warn(sentence)


def open_health(run: PretrainingRun, size: tuple[int, int], journal: Journal) -> Health | None:
    """The watcher of a run's health, unless none of the images that it would look at can be read.

    Every process calls it, and has the images that the main one read.
    """
    with run.progress.no_training():
        pixels = run.world.from_main(lambda: look_at(run.images, size))
    return Health(run, pixels.to(run.world.device), journal) if len(pixels) else None


def look_at(images: Images, size: tuple[int, int]) -> UInt8[Tensor, "images channels height width"]:
    """Some images whole, spread over the data, as far as they can be read; perhaps none."""
    loader = whole_loader(images, size, images.some(IMAGES))
    none = torch.empty(0, images.channels, *size, dtype=torch.uint8)
    return torch.cat([none, *(batch.pixels for batch in bar("images to watch")(loader) if batch.indices)])
