"""The trained model that a verb works with, and the images that it is shown."""

from dataclasses import replace

import torch

from pcae.data.images import Images, open_images
from pcae.data.unreadable import BadFiles
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings.choices import Split
from pcae.settings.sources import Data
from pcae.settings.trained import ShownConfig, TrainedConfig
from pcae.terminal import console
from pcae.training.distributed import pick_device
from pcae.weights.detectors import DetectorFacts
from pcae.weights.files import fill, find


def images_for(facts: PretrainedFacts | DetectorFacts, data: Data, split: Split, labels: bool = False) -> Images:
    """The images of a split, read as a model takes them: its channels, range of pixels and bands. labels: as in
    `open_images`.
    """
    channels, pixel_range = facts.encoder.channels, facts.pixel_range
    return open_images(data, split, channels, pixel_range, bands=facts.bands, labels=labels)


def open_shown(data: Data, config: ShownConfig, model: Pretrained, labels: bool = False) -> BadFiles:
    """The images, as the model takes them, with nothing found unreadable yet. labels: as in `open_images`."""
    return BadFiles(images_for(model.facts, data, config.split, labels), config.max_bad_files)


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


def say_left_out(bad_files: BadFiles, then: str = "they were left out") -> None:
    """Name the images that could not be read, if there are any, and what became of them."""
    if bad_files.found:
        console.print(f"{bad_files.describe()}; {then}")


def at_most(images: Images, most: int | None) -> Images:
    """The images, or so many of them, the same ones every time."""
    if most is None:
        return images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images.without(order[most:].tolist())
