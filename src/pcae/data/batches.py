"""The order of images in a run, and loaders of uint8 batches."""

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pcae.data.arrays import Cropper, Uncropped, as_read, together
from pcae.data.crops import RandomCrops, WholeImages
from pcae.data.images import Images
from pcae.data.unreadable import BadFiles, Batch, Replaced, collate, left_out
from pcae.settings.bounds import check_bounds
from pcae.settings.reading import DataConfig

Follow = Callable[[DataLoader], Iterable[Batch]]
"""Batch by batch through a loader, and something shown of it on the way."""


def check_data_config(config: DataConfig) -> None:
    """Raise ValueError for values that cannot be."""
    check_bounds(config)
    low, high = config.crop_scale
    if low > high:
        raise ValueError(f"crop_scale must be two shares of the area, ascending in (0, 1], got {config.crop_scale}")
    if not all(math.isfinite(value) for value in (*(config.mean or ()), *(config.std or ()))):
        raise ValueError(f"mean and std must be numbers, got mean {config.mean} and std {config.std}")
    if (config.mean is None) != (config.std is None):
        raise ValueError(f"give mean and std together, or neither; got mean {config.mean} and std {config.std}")


@lru_cache(maxsize=2)
def epoch_order(images: int, seed: int, epoch: int) -> Tensor:
    """The order of the images in an epoch."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(images, generator=generator)


Order = Callable[[int, int, int], Tensor]
"""The images of an epoch in their order, as many as there are, by their number, the seed and the epoch alone."""


def image_at(position: int, images: int, seed: int, order: Order = epoch_order) -> int:
    """The image at a position of a run's endless stream: epochs one after the other, each in an order of its own."""
    epoch, place = divmod(position, images)
    return int(order(images, seed, epoch)[place])


@dataclass(frozen=True)
class MicroBatches(Sampler):
    """Which images this process reads, from optimizer step `start` on: (image, position), micro-batch by micro-batch.

    Of the global batch's equal parts (processes x accumulation), process `rank` takes `accumulation` in a row. order:
    which images an epoch shows, where it is not each of them once.
    """

    images: int
    seed: int
    batch_size: int
    start: int
    steps: int
    rank: int
    processes: int
    accumulation: int
    order: Order = epoch_order

    @property
    def parts(self) -> int:
        """Equal parts of the global batch."""
        return self.processes * self.accumulation

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size = self.batch_size // self.parts
        for step in range(self.start, self.steps):
            for micro in range(self.accumulation):
                first = step * self.batch_size + (self.rank * self.accumulation + micro) * size
                yield [
                    (image_at(position, self.images, self.seed, self.order), position)
                    for position in range(first, first + size)
                ]

    def __len__(self) -> int:
        return (self.steps - self.start) * self.accumulation


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def training_workers(config: DataConfig, device: torch.device) -> int:
    """Reading processes for each training process, as asked for.

    Else on a CPU none, since they would take the cores that train, and on a GPU its share of the cores less one.
    """
    if config.workers is not None or device.type == "cpu":
        return config.workers or 0
    return max(1, count_cores() // local_processes() - 1)


def scanning_workers(images: Images, passes: int) -> int:
    """Processes for reading so many images while nothing trains: none for arrays and for a few files.

    None either where processes start anew instead of forking (macOS, Windows): a plain script that calls us would
    start itself again.
    """
    method = multiprocessing.get_start_method(allow_none=True)  # asked otherwise, it would be fixed for who calls us
    forks = (method or multiprocessing.get_all_start_methods()[0]) == "fork"
    cores = max(1, count_cores() // local_processes())
    return min(cores, passes // 50) if forks and not isinstance(images.items, np.ndarray) else 0


def local_processes() -> int:
    """Processes on this machine that share the work."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def training_loader(
    crops: RandomCrops, order: MicroBatches, workers: int, device: torch.device, finish: Cropper | None = None
) -> DataLoader:
    """Micro-batches of uint8 crops (`Batch`), in the order's order.

    finish: what makes crops of batches on an accelerator, to which images of one array come as they are, or do not come
    where it holds them. A CPU's are cropped by the process that reads, so that it has nothing left to do.
    """
    finish = finish or Cropper(crops)
    dataset: Dataset = Replaced(crops)
    made: Callable[..., Batch] = collate
    if together(crops, device):
        dataset, made = Uncropped(crops, finish.held is not None), finish if device.type == "cpu" else as_read
    return DataLoader(
        dataset,
        batch_sampler=order,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        pin_memory=device.type == "cuda",
        collate_fn=made,
        worker_init_fn=leave_signals,
    )


def leave_signals(_: int) -> None:
    """A terminal interrupts all processes at once; those that read go on until the one that trains is done with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def whole_loader(
    images: Images,
    size: tuple[int, int],
    chosen: Sequence[int] | None = None,
    batch_size: int = 64,
    workers: int = 0,
    crop_pct: float = 1.0,
) -> DataLoader:
    """All images, or the chosen ones, whole (less a margin) and in order, as uint8 batches (`Batch`)."""
    whole = left_out(WholeImages(images, size, crop_pct).__getitem__, len(images))
    return DataLoader(whole, batch_size, sampler=chosen, num_workers=workers, collate_fn=collate)


def sums(batch: UInt8[Tensor, "batch channels_and_1 height width"]) -> tuple[Float[Tensor, "2 channels"], int]:
    """Means of the pixels in [0, 1] and of their squares, of `WholeImages` added up, and of how many that is.

    Pixels that are not known are left out, and images that have no others.
    """
    pixels, known = batch[:, :-1].double().flatten(2) / 255, batch[:, -1:].flatten(2) == 255
    if not known.all():
        there = known.any(2).flatten()
        pixels, known = pixels[there], known[there]
        pixels = pixels.masked_fill(~known, torch.nan)
        return torch.stack([pixels.nanmean(2).sum(0), pixels.square().nanmean(2).sum(0)]), len(pixels)
    return torch.stack([pixels.mean(2).sum(0), pixels.square().mean(2).sum(0)]), len(pixels)


def pixel_statistics(
    images: Images, size: tuple[int, int], bad_files: BadFiles, limit: int = 2_000, follow: Follow = iter
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation by channel of the pixels in [0, 1], over `limit` images spread over the data.

    JPEGs are reduced while they are decoded, which changed neither by more than 0.0004 on photographs of cameras.
    Raises ValueError when too many of them cannot be read.
    """
    chosen = images.some(limit)
    total, count = torch.zeros(2, images.channels, dtype=torch.float64), 0
    rough = left_out(WholeImages(images, size, known=True).__getitem__, len(images))
    workers = scanning_workers(images, len(chosen))
    for batch in follow(DataLoader(rough, 64, sampler=chosen, num_workers=workers, collate_fn=collate)):
        bad_files.add(batch.failed)
        if len(batch.indices):
            some, known = sums(batch.pixels)
            total, count = total + some, count + known
    bad_files.check(len(chosen))
    if not count:
        raise ValueError("none of the images looked at has a pixel that is known: all are NaN, or what stands for none")
    mean, square = total / count
    return mean.tolist(), (square - mean.square()).clamp_min(0).sqrt().tolist()
