"""Images on their way from files to the batches that a loop takes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pcae.data.arrays import cropper
from pcae.data.augment import Normalise
from pcae.data.batches import MicroBatches, training_loader, training_workers
from pcae.data.crops import RandomCrops
from pcae.data.shards.lane_batches import lane_loader, lanes_of
from pcae.data.unreadable import BadFiles
from pcae.settings.reading import DataConfig
from pcae.training.micro_batches import Labelled, feed
from pcae.training.randomness import StepRandom


def read_batches(
    crops: RandomCrops,
    own: MicroBatches,
    reading: DataConfig,
    bad_files: BadFiles,
    device: torch.device,
    labels: Tensor | None = None,
) -> Iterator[tuple[Tensor | Labelled, StepRandom]]:
    """The micro-batches of this process, on its device, by the seed of the crops; `reading` has the statistics.

    Raises ValueError for statistics of other channels, and for lanes that do not fit.
    """
    assert reading.mean is not None and reading.std is not None
    images = crops.images
    normalise = Normalise(list(reading.mean), list(reading.std), images.channels).to(device)
    finish = cropper(crops, device)
    if lanes_of(reading, images, own.batch_size, own.parts):
        loader = lane_loader(crops, own, reading, device)
    else:
        loader = training_loader(crops, own, training_workers(reading, device), device, finish)
    return feed(loader, own, normalise, bad_files, finish, mirror=reading.flip, device=device, labels=labels)
