"""Nearest neighbours of labelled images while a run trains: how well its features sort them, on held-out ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from pcae.data.batches import training_workers
from pcae.data.tables.labelled import FROM_PYTHON, REMEDY, open_labelled
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import pool
from pcae.evaluation.knn import voted_right
from pcae.inference.held_out import share_of
from pcae.methods.choice import Pretraining
from pcae.model.compiled import uncompiled
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.runs.health import PretrainingRun
from pcae.sharing.neighbours import Share, nearest
from pcae.terminal import console, warn
from pcae.training.distributed import World
from pcae.training.logging import Journal, best_so_far, read_metrics
from pcae.weights.files import save_model

K = 20
"""Neighbours that vote."""
NAME = "probe/knn"
"""The accuracy's name in metrics.jsonl and TensorBoard."""
PIXELS = "probe/knn_pixels"
"""The same by the pixels of the images, shrunk to at most SIDE x SIDE."""
SIDE = 32
BEST = "best-encoder.safetensors"
"""Where a run keeps the encoder that sorted the held-out images best."""
FOLDERS = "use a folder with train/CLASS/... and val/CLASS/..."
IN_PYTHON = "give {'train': ..., 'test': ...}"
"""How images that a probe takes are held out."""


@dataclass
class OnlineProbe:
    """A watcher, to be called by every process: each encodes its share of the images, and holds no other features.

    every: steps between probes. last: the latest accuracy.
    """

    train: BadFiles
    test: BadFiles
    facts: PretrainedFacts
    every: int
    workers: int = 0
    last: float | None = None

    def begin(self, run: PretrainingRun, journal: Journal) -> None:
        """Probe before the first step, unless that was done; what cannot be read is named, and too much refused."""
        done = run.world.from_main(lambda: [line[NAME] for line in read_metrics(journal.folder) if NAME in line])
        if done:
            self.last = done[-1]
        else:
            self.probe(run, journal, {PIXELS: self.by_pixels(run)})
        for bad_files in (self.train, self.test):
            if bad_files.found and run.world.is_main:
                console.print(f"{bad_files.describe()}; they are left out of the probe")

    def by_pixels(self, run: PretrainingRun) -> float:
        """Accuracy by the pixels of the images: what features should be better than."""
        height, width = (min(side, SIDE) for side in self.facts.encoder.image_size)

        def shrunk(pixels: Tensor) -> Tensor:
            return F.adaptive_avg_pool2d(pixels.float(), (height, width)).flatten(1)

        values = self.train.images.channels * height * width
        with run.progress.no_training():
            train, test = (self.encode(shrunk, values, bad_files, run.world) for bad_files in (self.train, self.test))
            return sorted_right(train, test, len(self.train.images.classes), run.world)

    def watch(self, run: PretrainingRun, journal: Journal) -> None:
        """Probe; images that are gone since the run began are no reason to end it."""
        try:
            self.probe(run, journal)
        except ValueError as error:  # in all processes alike
            if run.world.is_main:
                warn(f"step {run.progress.step}: no nearest neighbours: {error}")

    def probe(self, run: PretrainingRun, journal: Journal, beside: Mapping[str, float] = MappingProxyType({})) -> None:
        """Sort the held-out images, write down how many were right, and keep the encoder if none before was as good.

        beside: numbers that are written down with it.
        """
        method, step = run.whole(), run.progress.step
        with run.progress.no_training(), uncompiled():
            self.last = self.measure(method, run.world)
        if run.world.is_main:
            if step and self.last > best_so_far(journal.folder, NAME):
                save_model(journal.folder / BEST, method.student.vit, self.facts)
            journal.note({"step": step, NAME: self.last, **beside})
            journal.beside["knn"] = f"kNN {self.last:.1%} at step {step}"

    def measure(self, method: Pretraining, world: World) -> float:
        """Accuracy with the student as it is."""
        model, splits = Pretrained(method.student, self.facts).to(world.device), (self.train, self.test)

        def pooled(pixels: Tensor) -> Tensor:
            return pool(model, model(pixels.to(world.device)), "mean").float().cpu()

        method.eval()
        try:
            train, test = (self.encode(pooled, model.encoder.width, split, world) for split in splits)
        finally:
            method.train()
        return sorted_right(train, test, len(self.train.images.classes), world)

    def encode(self, features: Callable[[Tensor], Tensor], width: int, bad_files: BadFiles, world: World) -> Share:
        """Features, so many, of this process's images that can be read, and their labels.

        Raises ValueError, in all of them, when too many cannot be read.
        """
        places, rows = [], [torch.empty(0, width)]
        with torch.inference_mode():
            for batch in share_of(bad_files, self.facts, world, "encoding", self.workers):
                places += batch.indices
                rows.append(features(batch.pixels))
        return Share(torch.cat(rows), torch.tensor(bad_files.images.labels)[places])


def sorted_right(train: Share, test: Share, classes: int, world: World) -> float:
    """The share of all processes' test images that the labels of their nearest training images say right."""
    in_training, held_out = (sum(world.gather(len(share.labels))) for share in (train, test))
    similarity, voters = nearest(train, test.features, min(K, in_training), world)
    return sum(world.gather(voted_right(similarity, voters, test.labels, classes))) / held_out


def open_online(run: PretrainingRun, facts: PretrainedFacts) -> OnlineProbe | None:
    """The probe of labelled images during the run, where one is asked for; they are read as the run's own are.

    Raises ValueError, with the remedy, for data without labels or held-out images.
    """
    config = run.config
    if config.health.knn_data is None:
        return None
    data, channels = config.health.knn_data, facts.encoder.channels
    try:
        splits = open_labelled(data, channels, facts.pixel_range, bands=facts.bands)
    except ValueError as error:
        said = str(error).replace(REMEDY, FOLDERS).replace(FROM_PYTHON, IN_PYTHON)
        raise ValueError(f"knn_data: {said}") from error
    train, test = (BadFiles(images, config.reading.max_bad_files) for images in splits)
    every = run.plan.steps_every(config.health.knn_every)
    return OnlineProbe(train, test, facts, every, training_workers(config.reading, run.world.device))
