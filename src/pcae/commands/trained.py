"""The trained model that a verb works with, and the images that it is shown."""

from dataclasses import dataclass, replace

from pcae.commands.terminal import console
from pcae.data.batches import check_max_bad_files, check_workers
from pcae.data.images import open_images
from pcae.data.listing import Split
from pcae.data.unreadable import BadFiles
from pcae.model.pretrained import Pretrained
from pcae.training.distributed import pick_device
from pcae.weights.files import fill, find


@dataclass(frozen=True, kw_only=True)
class TrainedConfig:
    """A trained model."""

    weights: str
    """Run folder, .safetensors or .pth file, folder of Hugging Face's ViT or ViTMAE, or timm:NAME."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images in pixels; without it, the model's own. Positions are resized."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""


@dataclass(frozen=True, kw_only=True)
class ShownConfig:
    """Which images a model is shown, and how they are read."""

    split: Split = "test"
    """Which split, where the data has splits; test is also the val folder."""
    max_bad_files: float = 0.05
    """Share of the images that may be unreadable, in [0, 1); they are left out and named at the end."""
    workers: int = 0
    """Processes that read images beside this one."""


def check_shown(config: ShownConfig, batch_size: int | None) -> None:
    """Raise ValueError for values that cannot be."""
    check_max_bad_files(config.max_bad_files)
    check_workers(config.workers)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def open_shown(data: str, config: ShownConfig, model: Pretrained) -> BadFiles:
    """The images, as the model takes them, with nothing found unreadable yet."""
    images = open_images(data, config.split, model.facts.encoder.channels, model.facts.pixel_range)
    return BadFiles(images, config.max_bad_files)


def open_trained(config: TrainedConfig, pool_dropped: bool = False) -> Pretrained:
    """The model, in evaluation mode; says what was matched. pool_dropped: as in `reduce`; its facts may say so, too."""
    device = pick_device(config.device)
    found = find(config.weights)
    model, match = fill(found, device, config.image_size)
    console.print(f"weights: {found.source}")
    for line in (*match.describe(), *found.remarks):
        console.print(f"  {line}")
    if pool_dropped:
        model.facts = replace(model.facts, pool_dropped=True)
    return model
