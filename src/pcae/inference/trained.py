"""The trained model that a verb works with, and the images that it is shown."""

from dataclasses import replace

from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.model.pretrained import Pretrained
from pcae.settings.trained import ShownConfig, TrainedConfig
from pcae.terminal import console
from pcae.training.distributed import pick_device
from pcae.weights.files import fill, find


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
