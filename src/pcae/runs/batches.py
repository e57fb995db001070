"""Images on their way from files to the batches that a loop takes."""

from collections.abc import Iterator

from torch import Tensor

from pcae.data.arrays import cropper
from pcae.data.augment import Normalise
from pcae.data.batches import MicroBatches, training_loader, training_workers
from pcae.data.crops import RandomCrops
from pcae.data.shards.lane_batches import lane_loader, lanes_of
from pcae.data.unreadable import BadFiles
from pcae.settings.reading import DataConfig
from pcae.training.distributed import World
from pcae.training.micro_batches import Labelled, feed
from pcae.training.plan import Plan
from pcae.training.randomness import StepRandom


def read_batches(
    crops: RandomCrops,
    plan: Plan,
    reading: DataConfig,
    bad_files: BadFiles,
    world: World,
    *,
    start: int = 0,
    accumulation: int = 1,
    order: int | None = None,
    labels: Tensor | None = None,
) -> Iterator[tuple[Tensor | Labelled, StepRandom]]:
    """This process's part of batches from step `start` on, by the seed of the crops; `reading` has the statistics.

    order: a seed of its own for the order of the images.
    Raises ValueError for statistics of other channels, and for lanes that do not fit.
    """
    assert reading.mean is not None and reading.std is not None
    images, seed = crops.images, crops.seed
    normalise = Normalise(list(reading.mean), list(reading.std), images.channels).to(world.device)
    of_images = own_order(len(images), plan, world, seed if order is None else order, start, accumulation)
    finish = cropper(crops, world.device)
    if lanes_of(reading, images, plan.batch_size, world.size * accumulation):
        loader = lane_loader(crops, of_images, reading, world.device)
    else:
        loader = training_loader(crops, of_images, training_workers(reading, world.device), world.device, finish)
    return feed(
        loader,
        plan,
        normalise,
        bad_files,
        finish,
        seed=seed,
        start=start,
        first_part=world.rank * accumulation,
        accumulation=accumulation,
        mirror=reading.flip,
        device=world.device,
        labels=labels,
    )


def own_order(images: int, plan: Plan, world: World, seed: int, start: int, accumulation: int) -> MicroBatches:
    """Which of so many images this process reads from step `start` on."""
    return MicroBatches(images, seed, plan.batch_size, start, plan.steps, world.rank, world.size, accumulation)
