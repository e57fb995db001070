"""From JPEG files to normalised float tensors: ours beside torchvision's, one reading process each, taking turns.

    python benchmarks/data_path.py FOLDER [--images 512] [--rounds 7] [--processes 1 2]
        [--photographs MORE ...] [--packed PATH]

FOLDER gets the images on the first call: pieces of 500 x 375 and of 1600 x 1200 of the photographs that come with
scikit-learn and scikit-image, of those of Debian's wallpaper packages where they are installed, and of those in MORE.
PATH: what `pcae pack FOLDER/500x375 PATH` wrote; it is a row beside the files that it came from.

All rows take RandomResizedCrop(224, scale (.2, 1), bicubic, antialiased), mirror half of the images and normalise:

torchvision: ImageFolder and the transforms of version 1 on pictures of Pillow, as most people write it.
torchvision v2: decode_jpeg and the transforms of version 2 on uint8; batches are normalised where the model is.
draft: torchvision, but Pillow reduces each picture while its shorter side stays twice 224.
files, packed: ours.

Prints JSON: images per second (median, least and most over rounds) and how many times as fast as torchvision (median
over rounds of the ratio within a round), for one and for two reading processes, whose start is not counted. Beside
them runs the training process, which normalises v2's batches and ours.
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import skimage
import sklearn
import torch
from PIL import Image, features
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader
from torchvision.io import decode_jpeg, read_file
from torchvision.transforms import (
    Compose,
    InterpolationMode,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    v2,
)
from torchvision.transforms import ToTensor as ToFloats

from pcae.data.augment import Normalise, flip
from pcae.data.batches import MicroBatches, count_cores, training_loader
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.evaluation.throughput import ratios
from pcae.training.allocator import keep_freed_memory

SIZES = ((500, 375), (1600, 1200))
WHEELS = [
    *(Path(skimage.__file__).parent / "data" / name for name in ("astronaut.png", "chelsea.png", "coffee.png")),
    *(Path(skimage.__file__).parent / "data" / name for name in ("rocket.jpg", "retina.jpg", "hubble_deep_field.jpg")),
    *(Path(sklearn.__file__).parent / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")),
]
DEBIAN = [Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers")]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SCALE = (0.2, 1.0)
MOST_ENLARGED = 1.5
Epoch = Callable[[], Iterable[Tensor]]
Finish = Callable[[Tensor], Tensor]


class Reading(NamedTuple):
    """How many images are read in an epoch, in batches of which size, by how many processes."""

    images: int
    batch: int
    processes: int


def sources(folders: list[Path], size: tuple[int, int]) -> list[Image.Image]:
    """The photographs from which pieces of this size can be cut without enlarging them much."""
    paths = [*WHEELS, *(path for folder in folders for path in sorted(folder.rglob("*.jp*g")) if path.is_file())]
    images = [Image.open(path) for path in paths]
    return [image.convert("RGB") for image in images if widest(image, size) * MOST_ENLARGED >= size[0]]


def widest(image: Image.Image, size: tuple[int, int]) -> int:
    """The width of the largest piece of a photograph that has a size's ratio of sides."""
    return min(image.width, image.height * size[0] // size[1])


def make(folder: Path, size: tuple[int, int], count: int, found: list[Image.Image]) -> None:
    """`count` pieces of the photographs in turn, as JPEG of quality 90, at most so much enlarged."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for index, image in zip(range(count), cycle(found), strict=False):
        most = widest(image, size)
        width = draw.randint(min(most, int(size[0] / MOST_ENLARGED)), most)
        height = width * size[1] // size[0]
        left, top = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
        box = (left, top, left + width, top + height)
        image.resize(size, Image.Resampling.LANCZOS, box=box).save(folder / f"{index:05d}.jpg", quality=90)


def of_torchvision(folder: Path, reading: Reading, load: Callable[[str], Any] = default_loader) -> Epoch:
    """What most people write."""
    crop = RandomResizedCrop(224, SCALE, interpolation=InterpolationMode.BICUBIC, antialias=True)
    transform = Compose([crop, RandomHorizontalFlip(), ToFloats(), Normalize(MEAN, STD)])
    return by_torchvision(ImageFolder(str(folder.parent), transform, loader=load), reading)


def drafted(path: str) -> Image.Image:
    """A picture that Pillow reduces while it decodes it."""
    with Image.open(path) as image:
        times = max(times for times in (1, 2, 4, 8) if times <= max(min(image.size) / 448, 1))
        image.draft("RGB", (image.width // times, image.height // times))
        return image.convert("RGB")


def of_version_2(folder: Path, reading: Reading) -> Epoch:
    """What torchvision does best on a CPU."""
    crop = v2.RandomResizedCrop(224, SCALE, interpolation=InterpolationMode.BICUBIC, antialias=True)
    transform = v2.Compose([crop, v2.RandomHorizontalFlip()])
    data = ImageFolder(str(folder.parent), transform, loader=lambda path: decode_jpeg(read_file(path)))
    return by_torchvision(data, reading, Normalise(MEAN, STD, 3))


def by_torchvision(data: ImageFolder, reading: Reading, finish: Finish = lambda read: read) -> Epoch:
    """Batches in one random order, and what the training process does to them."""
    order = list(islice(cycle(torch.randperm(len(data)).tolist()), reading.images))

    def epoch() -> Iterator[Tensor]:
        for pixels, _ in DataLoader(data, reading.batch, sampler=order, num_workers=reading.processes, drop_last=True):
            yield finish(pixels)

    return epoch


def ours(data: Path, reading: Reading) -> Epoch:
    """What a run reads and does with it: crops by a process, mirrored and normalised where the model is."""
    opened = open_images(str(data))
    crops, normalise = RandomCrops(opened, (224, 224), SCALE, seed=0), Normalise(MEAN, STD, opened.channels)

    def epoch() -> Iterator[Tensor]:
        order = MicroBatches(len(opened), 0, reading.batch, 0, reading.images // reading.batch, 0, 1, 1)
        for read in training_loader(crops, order, reading.processes, torch.device("cpu")):
            yield normalise(flip(read.pixels, torch.rand(len(read.pixels))))

    return epoch


def seconds_an_image(epoch: Epoch) -> float:
    """Seconds for each image from the first batch on, when the process reads and is ahead by what it may be."""
    count, started = 0, None
    for pixels in epoch():
        if started is None:
            started = time.perf_counter()
        else:
            count += len(pixels)
    assert started is not None and count
    return (time.perf_counter() - started) / count


def measure(rows: dict[str, Epoch], rounds: int) -> dict[str, dict[str, float]]:
    """Images per second and ratios, all rows taking turns; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(1 + rounds):
        for name, epoch in rows.items():
            spent = seconds_an_image(epoch)
            if turn:
                seconds[name].append(spent)
    faster = ratios(seconds, "torchvision")
    return {name: described(spent) | {"ratio": round(faster[name], 3)} for name, spent in seconds.items()}


def described(seconds: list[float]) -> dict[str, float]:
    """Images per second."""
    return {
        "images_per_second": round(1 / median(seconds), 1),
        "least": round(1 / max(seconds), 1),
        "most": round(1 / min(seconds), 1),
    }


def row(folder: Path, said: argparse.Namespace, size: tuple[int, int]) -> dict[str, Any]:
    """Everything about images of one size, which are made if they are not there yet."""
    images = folder / f"{size[0]}x{size[1]}" / "photographs"
    if not images.is_dir():
        make(images, size, said.images, sources([*DEBIAN, *said.photographs], size))
    files = list(images.iterdir())
    found: dict[str, Any] = {"images": len(files)}
    found["kib_an_image"] = round(sum(file.stat().st_size for file in files) / len(files) / 1024)
    for processes in said.processes:
        reading = Reading(said.passes * len(files), said.batch, processes)
        rows = {"torchvision": of_torchvision(images, reading), "torchvision v2": of_version_2(images, reading)}
        rows |= {"draft": of_torchvision(images, reading, drafted), "files": ours(images, reading)}
        if said.packed and size == SIZES[0]:
            rows["packed"] = ours(said.packed, reading)
        found[f"{processes} reading"] = measure(rows, said.rounds)
    return found


def benchmark() -> None:
    """Make the images, take turns, print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("--images", type=int, default=512)
    words.add_argument("--passes", type=int, default=2)
    words.add_argument("--batch", type=int, default=32)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    words.add_argument("--photographs", type=Path, nargs="*", default=[])
    words.add_argument("--packed", type=Path)
    said = words.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measured = {f"{size[0]}x{size[1]}": row(said.folder, said, size) for size in SIZES}
    machine = {
        "cores": count_cores(),
        "machine": platform.machine(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
    }
    versions = {"pillow": features.version("pil"), "jpeg": features.version("jpg"), "torch": str(torch.__version__)}
    print(json.dumps({"rounds": said.rounds, "batch": said.batch, **measured, **machine, **versions}, indent=2))


if __name__ == "__main__":
    benchmark()
