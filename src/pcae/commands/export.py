"""`pcae export`: a trained model as a file or folder that other programs run, checked against PyTorch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pcae.commands.terminal import as_json, bar, console, table, warn
from pcae.commands.trained import TrainedConfig, open_trained
from pcae.data.batches import check_max_bad_files, whole_loader
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import readable
from pcae.model.pretrained import Pretrained
from pcae.weights.export.formats import FORMATS, Name, check_format, export
from pcae.weights.export.parity import Parity

CHECKED = 64
"""Images that an exported model is checked on."""
BATCH = 24
"""Images that are checked at once: 64 make batches of two sizes."""
SAMPLE_CHANNELS = (1, 3, 4)
"""Channels that the built-in images can be had with."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write a model for other programs, read it back, and compare its answers with PyTorch's on 64 images.

    An export whose answers differ is not kept. onnx and torch-export take uint8 images and normalise them themselves.
    """

    model: TrainedConfig
    to: Name
    """onnx (ONNX file), torch-export (.pt2), timm (folder), hf (folder for transformers), vitmae (the same with the
    decoder that predicts pixels), mae (.pth of MAE's code, with that decoder where there is one), pcae-code (.pth of
    the public PCAE code, with the decoder that predicts features), safetensors (ours)."""
    out: Path
    """The .onnx, .pt2, .pth or .safetensors file, or the new folder, to write."""
    drop_ratio: float | None = None
    """Share of the patch tokens that each of three stages drops, for onnx and torch-export; without it, as it was
    fine-tuned."""
    pool_dropped: bool = False
    """Pool the means of dropped tokens, too, each for as many as it stands for, for onnx and torch-export: without
    training it keeps more of the accuracy. Weights that were fine-tuned so always do."""
    data: str | None = None
    """Images for the check: as for other verbs; without it, 64 of the built-in ones."""
    max_bad_files: float = 0.05
    """Share of the images of the check that may be unreadable, in [0, 1)."""
    json: bool = False
    """Print what was written, and the check, as JSON."""


def run(config: Config) -> None:
    """Export and check."""
    check_max_bad_files(config.max_bad_files)
    check_format(config.to, config.out, config.drop_ratio, config.pool_dropped)
    if config.model.device not in ("auto", "cpu"):
        raise ValueError(f"device {config.model.device!r} is not for exporting: files are made and checked on the CPU")
    model = open_trained(replace(config.model, device="cpu"), config.pool_dropped)
    ratio, bad_files = ratio_of(config, model), images_of(config, model)
    images = list(batches(model, bad_files))
    for remark in remarks(config, model):
        warn(remark)
    parity = export(model, config.to, config.out, ratio, images)
    if bad_files.found:
        console.print(f"{bad_files.describe()}; the check is on the others")
    report(config, model, ratio, parity)


def ratio_of(config: Config, model: Pretrained) -> float:
    """The drop ratio to export at."""
    if not FORMATS[config.to].reduces:
        return 0.0
    return model.facts.drop_ratios[0] if config.drop_ratio is None else config.drop_ratio


def remarks(config: Config, model: Pretrained) -> list[str]:
    """What the export will do otherwise than the model does here."""
    form, tuned = FORMATS[config.to], model.facts.drop_ratios[0]
    dropped = f"{config.to} computes every token; the weights were fine-tuned at drop ratio {tuned:g}"
    others = not form.reduces and config.to != "safetensors"  # which keeps the ratio
    return [*form.remarks(model), *([dropped] if tuned and others else [])]


def images_of(config: Config, model: Pretrained) -> BadFiles:
    """The images of the check. Raises ValueError when the built-in ones do not fit the model."""
    channels = model.facts.encoder.channels or 3
    if config.data is None and channels not in SAMPLE_CHANNELS:
        raise ValueError(f"the model takes {channels} channels, which the built-in images lack; give others by --data")
    images = open_images(config.data or "sample", "test", channels, model.facts.pixel_range)
    few = sorted(set(range(len(images))) - set(images.some(CHECKED)))
    return BadFiles(images.without(few), config.max_bad_files)


def batches(model: Pretrained, bad_files: BadFiles) -> Iterator[Tensor]:
    """The images of the check as uint8 batches of the model's size. Raises ValueError when too many cannot be read."""
    facts = model.facts
    loader = whole_loader(bad_files.images, facts.encoder.image_size, None, BATCH, crop_pct=facts.crop_pct)
    for batch in readable(loader, bad_files, bar("reading images")):
        yield batch.pixels


def report(config: Config, model: Pretrained, ratio: float, parity: Parity) -> None:
    """Say what was written and how the check came out."""
    facts, output = model.facts, FORMATS[config.to].answers(model)
    result: dict[str, Any] = {
        "out": str(config.out),
        "to": config.to,
        "output": output,
        "classes": facts.classes,
        "image_size": list(facts.encoder.image_size),
        "channels": facts.encoder.channels or 3,
        "drop_ratio": ratio,
        "pool_dropped": facts.pool_dropped,
        "check": parity.to_plain(),
    }
    if config.json:
        as_json(result)
        return
    rows = [
        [f"largest difference of the {output}", f"{parity.max_difference:.2g}"],
        ["allowed", f"{parity.tolerance:g}"],
        ["images that keep the same tokens", f"{parity.same_kept} of {parity.images}"],
        ["images that differ by a tie of scores", f"{parity.ties}"],
    ]
    reduces = FORMATS[config.to].reduces
    title = f"{config.out}, against PyTorch{f' at drop ratio {ratio:g}' if reduces else ''}"
    table(title, ["check", "result"], rows if reduces and ratio else rows[:2])
