"""The trained model that a verb works with, and the images that it is shown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcae.data.crops import WholeImages
from pcae.data.images import Images, open_images
from pcae.data.unreadable import BadFiles
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.model.reduced import fold_of
from pcae.settings.bounds import check_bounds
from pcae.settings.choices import Split
from pcae.settings.sources import Data, given_in
from pcae.settings.trained import ReductionFile, RuleConfig, ShownConfig, TrainedConfig
from pcae.settings.yaml_files import read_yaml
from pcae.sharing.contents import digest_of, digest_of_images
from pcae.terminal import console, is_main_process
from pcae.training.distributed import pick_device
from pcae.weights.detectors import DetectorFacts
from pcae.weights.files import fill, find

AS_TRAINED = RuleConfig()
"""Nothing is said of how tokens are dropped."""


def images_for(facts: PretrainedFacts | DetectorFacts, data: Data, split: Split, labels: bool = False) -> Images:
    """The images of a split, read as a model takes them: its channels, range of pixels and bands. labels: as in
    `open_images`.
    """
    channels, pixel_range = facts.encoder.channels, facts.pixel_range
    return open_images(data, split, channels, pixel_range, bands=facts.bands, labels=labels)


def open_shown(data: Data, config: ShownConfig, model: Pretrained, labels: bool = False) -> BadFiles:
    """The images, as the model takes them, with nothing found unreadable yet. labels: as in `open_images`."""
    return BadFiles(images_for(model.facts, data, config.split, labels), config.max_bad_files)


def open_trained(
    config: TrainedConfig, rule: RuleConfig = AS_TRAINED, device: torch.device | None = None
) -> Pretrained:
    """The model, in evaluation mode, whose facts have the rule that is asked for; the main process says what was
    matched. device: without it, the one that is asked for.
    """
    said = said_by(rule)  # refused before any work
    device = device or pick_device(config.device)
    found = find(config.weights)
    model, match = fill(found, device, config.image_size)
    if is_main_process():
        console.print(f"weights: {found.source}")
        for line in (*match.describe(), *found.remarks):
            console.print(f"  {line}")
    ratio = said.pop("drop_ratio", None)
    ratios = model.facts.drop_ratios if ratio is None else (ratio, ratio)
    model.facts = replace(model.facts, rule=model.facts.rule.but(said), drop_ratios=ratios)
    return model


def whole(model: Pretrained, images: Images) -> Callable[[int], Tensor]:
    """The pixels of an image by its index, as a model looks at them. Raises Unreadable."""
    return WholeImages(images, model.facts.encoder.image_size, model.facts.crop_pct).__getitem__


def facts_of(model: Pretrained, images: Images, data: Data, said: dict[str, Any]) -> dict[str, Any]:
    """What decides the answers of a model on images, in JSON's types: parts of them are of the same where it is.

    said: settings beside those of the model.
    """
    facts = model.facts
    found = {"weights": digest_of(model), "mean": facts.mean, "std": facts.std, "crop_pct": facts.crop_pct}
    found |= {"image_size": facts.encoder.image_size, "files": images.digest(), **said}
    return found | ({"contents": digest_of_images(images)} if given_in(data) else {})


def said_by(config: RuleConfig) -> dict[str, Any]:
    """What of a rule is said, and the drop ratio where a file says it: flags go before the file.

    Raises ValueError for a file that holds none, and for two folds.
    """
    flags = {"criterion": config.criterion, "fold": config.fold, "after": config.reduce_after}
    flags["before_mlp"] = config.before_mlp
    if config.pool_dropped:
        flags["fold"] = fold_of(config.fold or "append", pool_dropped=True)
    file = {} if config.reduction is None else read_reduction(config.reduction)
    return file | {name: value for name, value in flags.items() if value is not None}


def read_reduction(path: Path) -> dict[str, Any]:
    """What a file of --reduction says. Raises ValueError where it is none."""
    if not path.is_file():
        raise ValueError(f"reduction {str(path)!r} is not there; give a file that pcae tune wrote")
    said = read_yaml(ReductionFile, path)
    if "drop_ratio" not in said:
        raise ValueError(f"reduction {str(path)!r} says no drop_ratio; give a file that pcae tune wrote")
    try:
        check_bounds(ReductionFile(**said))
    except ValueError as error:
        raise ValueError(f"reduction {str(path)!r}: {error}") from error
    return said


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
