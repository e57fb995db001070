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
from pcae.pages.model_card import model_card
from pcae.pages.web_page import page_files
from pcae.results import Block, Result, Table
from pcae.settings.choices import ExportFormat
from pcae.settings.verbs.export import ExportConfig
from pcae.terminal import bar, warn
from pcae.weights.export.formats import FORMATS, check_format, export, held_against
from pcae.weights.export.onnxruntime_web import runtime_files
from pcae.weights.export.parity import Parity
from pcae.weights.export.recognise import format_of

CHECKED = 64
"""Images that an exported model is checked on."""
BATCH = 24
"""Images that are checked at once: 64 make batches of two sizes."""
SAMPLE_CHANNELS = (1, 3, 4)
"""Channels that the built-in images can be had with."""


@dataclass(frozen=True, repr=False)
class Exported(Result):
    """What was written, for what, and how the check came out.

    output: what the model answers, in words. compared_at: drop ratios at which images were compared, each image once at
    each of them.
    """

    out: Path
    to: ExportFormat
    output: str
    classes: list[str] | None
    image_size: tuple[int, int]
    channels: int
    drop_ratio: float
    pool_dropped: bool
    compared_at: list[float]
    check: dict[str, Any]

    def blocks(self) -> list[Block]:
        """What was compared."""
        check, reduces = self.check, FORMATS[self.to].reduces
        top1 = [["images of the same most likely class", f"{check['same_top1']} of {check['images']}"]]
        rows = [
            [f"largest difference of the {self.output}", f"{check['max_difference']:.2g}"],
            ["allowed for an export", f"{check['allowed']:.2g}, for answers up to {check['size']:.3g}"],
            *([] if check["same_top1"] is None else top1),
            ["images that keep the same tokens", f"{check['same_kept']} of {check['images']}"],
            ["images that differ by a tie of scores", f"{check['ties']}"],
        ]
        title = f"{self.out}, against PyTorch{f' at drop ratio {self.ratios}' if reduces else ''}"
        table = Table(title, ["check", "result"], rows if reduces and any(self.compared_at) else rows[:-2])
        return [table, *([f"to look at it: python -m http.server -d {self.out}"] if self.to == "web" else [])]

    @property
    def ratios(self) -> str:
        """The drop ratios that were compared, in words."""
        return ", ".join(f"{ratio:g}" for ratio in self.compared_at)

    def records(self) -> list[dict[str, Any]]:
        """One row: what was written, and the check."""
        own = {name: value for name, value in vars(self).items() if name not in ("check", "classes", "compared_at")}
        return [own | self.check]


def export_model(config: ExportConfig) -> Exported:
    """Export and check, or check alone. Raises ValueError for what cannot be, and when the answers of an export differ:
    then nothing is kept."""
    if config.model.device not in ("auto", "cpu"):
        raise ValueError(f"device {config.model.device!r} is not for exporting: files are made and checked on the CPU")
    if config.check is not None:
        return check_file(config, config.check)
    if config.to is None or config.out is None:
        raise ValueError("give --to FORMAT and --out F to export, or --check F to check an exported file")
    return write_file(config, config.to, config.out)


def write_file(config: ExportConfig, to: ExportFormat, out: Path) -> Exported:
    """Export and check."""
    check_format(to, out, config.drop_ratio, config.pool_dropped)
    page = page_of(config, to)
    model = open_trained(replace(config.model, device="cpu"), config.pool_dropped)
    ratio, bad_files = ratio_of(config, model, to), images_of(config, model)
    images = batches(model, bad_files)
    for remark in remarks(to, model):
        warn(remark)
    card = model_card(model, to, out.name, config.model.weights)
    beside = {name: text.encode() for name, text in card.items()} | page
    parity = export(model, to, out, ratio, images, beside)
    say_left_out(bad_files, "the check is on the others")
    return described(model, to, out, ratio, parity)


def page_of(config: ExportConfig, to: ExportFormat) -> dict[str, bytes]:
    """The page and what computes in it, by their files' names. Raises ValueError for a package that does not fit."""
    if to == "web":
        return page_files() | runtime_files(config.onnxruntime_web)
    if config.onnxruntime_web is not None:
        raise ValueError(f"onnxruntime_web is for --to web, not for --to {to}; leave it out")
    return {}


def check_file(config: ExportConfig, place: Path) -> Exported:
    """Hold a file of ours, or one that was made of ours, against the weights. Raises ValueError where it cannot run."""
    if config.out is not None:
        raise ValueError("out is for exporting, --check writes nothing; leave --out out")
    to = config.to or format_of(place)
    form, said = FORMATS[to], FORMATS[to].said(place)
    pool_dropped = config.pool_dropped or bool(said.get("pool_dropped"))
    model = open_trained(replace(config.model, device="cpu"), pool_dropped)
    asked = replace(config, drop_ratio=said.get("drop_ratio") if config.drop_ratio is None else config.drop_ratio)
    ratio, bad_files = ratio_of(asked, model, to), images_of(config, model)
    parity = held_against(form, model, place, ratio, batches(model, bad_files))
    say_left_out(bad_files, "the check is on the others")
    return described(model, to, place, ratio, parity)


def described(model: Pretrained, to: ExportFormat, out: Path, ratio: float, parity: Parity) -> Exported:
    """What was compared, and how it came out."""
    facts, output, check = model.facts, FORMATS[to].answers(model), parity.to_plain()
    size, channels = facts.encoder.image_size, facts.encoder.channels or 3
    compared = [part.drop_ratio for part in FORMATS[to].parts(model, ratio, out)]
    return Exported(out, to, output, facts.classes, size, channels, ratio, facts.pool_dropped, compared, check)


def ratio_of(config: ExportConfig, model: Pretrained, to: ExportFormat) -> float:
    """The drop ratio to export at."""
    if not FORMATS[to].reduces:
        return 0.0
    return model.facts.drop_ratios[0] if config.drop_ratio is None else config.drop_ratio


def remarks(to: ExportFormat, model: Pretrained) -> list[str]:
    """What the export will do otherwise than the model does here."""
    form, tuned = FORMATS[to], model.facts.drop_ratios[0]
    dropped = f"{to} computes every token; the weights were fine-tuned at drop ratio {tuned:g}"
    others = not form.reduces and to != "safetensors"  # which keeps the ratio
    return [*form.remarks(model), *([dropped] if tuned and others else [])]


def images_of(config: ExportConfig, model: Pretrained) -> BadFiles:
    """The images of the check. Raises ValueError when the built-in ones do not fit the model."""
    channels = model.facts.encoder.channels or 3
    if config.data is None and channels not in SAMPLE_CHANNELS:
        raise ValueError(f"the model takes {channels} channels, which the built-in images lack; give others by --data")
    images = open_images(config.data or "sample", "test", channels, model.facts.pixel_range, bands=model.facts.bands)
    few = sorted(set(range(len(images))) - set(images.some(CHECKED)))
    return BadFiles(images.without(few), config.max_bad_files)


def batches(model: Pretrained, bad_files: BadFiles) -> list[Tensor]:
    """The images of the check as uint8 batches of the model's size. Raises ValueError when too many cannot be read."""
    facts = model.facts
    loader = whole_loader(bad_files.images, facts.encoder.image_size, None, BATCH, crop_pct=facts.crop_pct)
    return [batch.pixels for batch in readable(loader, bad_files, bar("reading images"))]
