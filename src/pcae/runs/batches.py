"""Images on their way from files to the batches that a loop takes."""

from collections.abc import Iterator

from torch import Tensor

from pcae.data.arrays import cropper
from pcae.data.augment import Normalise
from pcae.data.batches import MicroBatches, training_loader, training_workers
from pcae.data.images import RandomCrops
from pcae.data.shards.lane_batches import lane_loader, lanes_of
from pcae.data.unreadable import BadFiles
from pcae.settings.reading import DataConfig
from pcae.training.distributed import World
from pcae.training.micro_batches import Labelled, feed
from pcae.training.plan import Plan
from pcae.training.randomness import Draw


def read_batches(
    crops: RandomCrops,
    numbers: Plan,
    reading: DataConfig,
    bad_files: BadFiles,
    here: World,
    *,
    start: int = 0,
    accumulation: int = 1,
    order: int | None = None,
    labels: Tensor | None = None,
) -> Iterator[tuple[Tensor | Labelled, Draw]]:
    """This process's part of batches from step `start` on, by the seed of the crops; `reading` has the statistics.

    order: a seed of its own for the order of the images.
    Raises ValueError for statistics of other channels, and for lanes that do not fit.
    """
    assert reading.mean is not None and reading.std is not None
    images, seed = crops.images, crops.seed
    normalise = Normalise(list(reading.mean), list(reading.std), images.channels).to(here.device)
    of_images = own_order(len(images), numbers, here, seed if order is None else order, start, accumulation)
    finish = cropper(crops, here.device)
    if lanes_of(reading, images, numbers.batch_size, here.size * accumulation):
        loader = lane_loader(crops, of_images, reading, here.device)
    else:
        loader = training_loader(crops, of_images, training_workers(reading, here.device), here.device, finish)
    return feed(
        loader,
        numbers,
        normalise,
        bad_files,
        finish,
        seed=seed,
        start=start,
        first_part=here.rank * accumulation,
        accumulation=accumulation,
        mirror=reading.flip,
        device=here.device,
        labels=labels,
    )


def own_order(images: int, numbers: Plan, here: World, seed: int, start: int, accumulation: int) -> MicroBatches:
    """Which of so many images this process reads from step `start` on."""
    return MicroBatches(images, seed, numbers.batch_size, start, numbers.steps, here.rank, here.size, accumulation)
