"""A trained model written for other programs, read back by them, and compared with PyTorch on some images."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pcae.data.batches import whole_loader
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import readable
from pcae.inference.trained import open_trained, say_left_out
from pcae.model.pretrained import Pretrained
from pcae.settings.choices import ExportFormat
from pcae.settings.verbs.export import ExportConfig
from pcae.terminal import bar, warn
from pcae.weights.export.formats import FORMATS, check_format, export

CHECKED = 64
"""Images that an exported model is checked on."""
BATCH = 24
"""Images that are checked at once: 64 make batches of two sizes."""
SAMPLE_CHANNELS = (1, 3, 4)
"""Channels that the built-in images can be had with."""


@dataclass(frozen=True)
class Exported:
    """What was written, for what, and how the check came out. output: what the model answers, in words."""

    out: Path
    to: ExportFormat
    output: str
    classes: list[str] | None
    image_size: tuple[int, int]
    channels: int
    drop_ratio: float
    pool_dropped: bool
    check: dict[str, Any]


def export_model(config: ExportConfig) -> Exported:
    """Export and check. Raises ValueError for what cannot be, and when the answers differ: then nothing is kept."""
    check_format(config.to, config.out, config.drop_ratio, config.pool_dropped)
    if config.model.device not in ("auto", "cpu"):
        raise ValueError(f"device {config.model.device!r} is not for exporting: files are made and checked on the CPU")
    model = open_trained(replace(config.model, device="cpu"), config.pool_dropped)
    ratio, bad_files = ratio_of(config, model), images_of(config, model)
    images = batches(model, bad_files)
    for remark in remarks(config, model):
        warn(remark)
    parity = export(model, config.to, config.out, ratio, images)
    say_left_out(bad_files, "the check is on the others")
    facts, output, check = model.facts, FORMATS[config.to].answers(model), parity.to_plain()
    size, channels = facts.encoder.image_size, facts.encoder.channels or 3
    return Exported(config.out, config.to, output, facts.classes, size, channels, ratio, facts.pool_dropped, check)


def ratio_of(config: ExportConfig, model: Pretrained) -> float:
    """The drop ratio to export at."""
    if not FORMATS[config.to].reduces:
        return 0.0
    return model.facts.drop_ratios[0] if config.drop_ratio is None else config.drop_ratio


def remarks(config: ExportConfig, model: Pretrained) -> list[str]:
    """What the export will do otherwise than the model does here."""
    form, tuned = FORMATS[config.to], model.facts.drop_ratios[0]
    dropped = f"{config.to} computes every token; the weights were fine-tuned at drop ratio {tuned:g}"
    others = not form.reduces and config.to != "safetensors"  # which keeps the ratio
    return [*form.remarks(model), *([dropped] if tuned and others else [])]


def images_of(config: ExportConfig, model: Pretrained) -> BadFiles:
    """The images of the check. Raises ValueError when the built-in ones do not fit the model."""
    channels = model.facts.encoder.channels or 3
    if config.data is None and channels not in SAMPLE_CHANNELS:
        raise ValueError(f"the model takes {channels} channels, which the built-in images lack; give others by --data")
    images = open_images(config.data or "sample", "test", channels, model.facts.pixel_range)
    few = sorted(set(range(len(images))) - set(images.some(CHECKED)))
    return BadFiles(images.without(few), config.max_bad_files)


def batches(model: Pretrained, bad_files: BadFiles) -> list[Tensor]:
    """The images of the check as uint8 batches of the model's size. Raises ValueError when too many cannot be read."""
    facts = model.facts
    loader = whole_loader(bad_files.images, facts.encoder.image_size, None, BATCH, crop_pct=facts.crop_pct)
    return [batch.pixels for batch in readable(loader, bad_files, bar("reading images"))]
