"""A trained model written for other programs, read back by them, and compared with PyTorch on some images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from pcae.data.batches import whole_loader
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.evaluation.features import readable
from pcae.inference.exported import Exported, beside_fp32
from pcae.inference.trained import open_trained, say_left_out
from pcae.model.pretrained import Pretrained
from pcae.pages.model_card import model_card
from pcae.pages.web_page import page_files
from pcae.settings.choices import ExportFormat, Precision, Split
from pcae.settings.trained import Rule, RuleConfig
from pcae.settings.verbs.export import ExportConfig
from pcae.terminal import bar, warn
from pcae.weights.export.format import Format
from pcae.weights.export.formats import FORMATS, check_format, export, held_against, reader_of
from pcae.weights.export.onnx_files import Onnx
from pcae.weights.export.onnxruntime_web import runtime_files
from pcae.weights.export.parity import Parity
from pcae.weights.export.precision import OnnxHalf, OnnxInt8
from pcae.weights.export.recognise import format_of

CHECKED = 64
"""Images that an exported model is checked on."""
CALIBRATED = 128
"""Images that set the ranges of int8."""
BATCH = 24
"""Images that are checked at once: 64 make batches of two sizes."""
SAMPLE_CHANNELS = (1, 3, 4)
"""Channels that the built-in images can be had with."""
SAMPLE = "sample"
"""The word for the built-in images."""


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


def check_precision(config: ExportConfig) -> None:
    """Raise ValueError, with the remedy, for settings of precision that change nothing."""
    if config.precision not in (None, "fp32") and config.to != "onnx":
        raise ValueError(f"precision {config.precision} is for --to onnx, not for --to {config.to}; leave it out")
    if config.calibration is not None and config.precision != "int8":
        raise ValueError(f"calibration {config.calibration!r} is for --precision int8; leave it out, or ask for int8")
    if config.runtime != "onnxruntime":
        raise ValueError(f"runtime {config.runtime!r} is for --check F; export first, then check the file")


def write_file(config: ExportConfig, to: ExportFormat, out: Path) -> Exported:
    """Export and check."""
    check_precision(config)
    check_format(to, out, config.drop_ratio, first_said(config.rule))
    page = page_of(config, to)
    model = open_trained(replace(config.model, device="cpu"), config.rule)
    ratio, bad_files = ratio_of(config, model, to), images_of(config, model)
    images = batches(model, bad_files, "reading images")
    for remark in remarks(to, model):
        warn(remark)
    if config.precision in (None, "fp32"):
        card = model_card(model, to, out.name, config.model.weights)
        beside = {name: text.encode() for name, text in card.items()} | page
        parity = export(model, to, out, ratio, images, beside)
        found = described(config, model, to, out, ratio, parity)
    else:
        found = write_small(config, config.precision, model, out, ratio, images)
    say_left_out(bad_files, "the check is on the others")
    return found


def write_small(
    config: ExportConfig, precision: Precision, model: Pretrained, out: Path, ratio: float, images: list[Tensor]
) -> Exported:
    """Export in fp16 or int8, and measure the file beside the one in fp32."""
    data, calibration = calibration_of(config, model) if precision == "int8" else (None, [])
    with plain_file(model, ratio) as plain:
        form: Format = OnnxInt8(plain, calibration, data) if data is not None else OnnxHalf()
        parity = export(model, "onnx", out, ratio, images, form=form)
        files = beside_fp32({"fp32": plain, precision: out}, images[0], config.rounds)
    found = described(config, model, "onnx", out, ratio, parity)
    return replace(found, calibration=data, calibration_images=sum(map(len, calibration)) or None, files=files)


@contextmanager
def plain_file(model: Pretrained, ratio: float) -> Iterator[Path]:
    """The model's ONNX file in float32, while the context lasts. Raises ValueError where there is no room for it."""
    with TemporaryDirectory(prefix="pcae.") as folder:
        plain = Path(folder) / "fp32.onnx"
        try:
            Onnx().write(model, ratio, plain)
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(
                f"the file in fp32 cannot be written to {gettempdir()}: {reason}; name a folder with room by TMPDIR"
            ) from error
        yield plain


def calibration_of(config: ExportConfig, model: Pretrained) -> tuple[str, list[Tensor]]:
    """The images that set the ranges of int8, of the training split, and what they are, in words."""
    data = config.calibration or config.data
    bad_files = some_images(data, config, model, "train", CALIBRATED)
    images = batches(model, bad_files, "reading images of the calibration")
    if not images:
        raise ValueError(f"calibration {data!r} holds no image; give others by --calibration")
    say_left_out(bad_files, "the calibration is on the others")
    return data or SAMPLE, images


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
    if config.calibration is not None:
        raise ValueError("calibration is for exporting, --check writes nothing; leave --calibration out")
    to = config.to or format_of(place)
    form = reader_of(to, config.runtime)
    said = form.said(place)
    model = open_trained(replace(config.model, device="cpu"), config.rule)
    model.facts = replace(model.facts, rule=rule_in(said, model.facts.rule, config.rule))
    asked = replace(config, drop_ratio=said.get("drop_ratio") if config.drop_ratio is None else config.drop_ratio)
    ratio, bad_files = ratio_of(asked, model, to), images_of(config, model)
    images, precision = batches(model, bad_files, "reading images"), config.precision or said.get("precision")
    parity = held_against(form, model, place, ratio, images, precision)
    say_left_out(bad_files, "the check is on the others")
    return described(config, model, to, place, ratio, parity)


def first_said(config: RuleConfig) -> str:
    """The first setting of a rule that is said, or nothing."""
    return next((name for name, value in vars(config).items() if value not in (None, False)), "")


def rule_in(said: dict[str, Any], own: Rule, config: RuleConfig) -> Rule:
    """The rule that a file says, else the weights', unless it is asked for another. Raises ValueError for none."""
    if first_said(config):
        return own
    if said.get("pool_dropped"):
        return replace(own, fold="pool")
    return TypeAdapter(Rule).validate_python(said["rule"]) if "rule" in said else own


def described(
    config: ExportConfig, model: Pretrained, to: ExportFormat, out: Path, ratio: float, parity: Parity
) -> Exported:
    """What was compared, and how it came out."""
    facts = model.facts
    return Exported(
        out=out,
        to=to,
        output=FORMATS[to].answers(model),
        classes=facts.classes,
        image_size=facts.encoder.image_size,
        channels=facts.encoder.channels or 3,
        drop_ratio=ratio,
        rule=facts.rule,
        compared_at=[part.drop_ratio for part in FORMATS[to].parts(model, ratio, out)],
        precision=parity.precision,
        runtime=config.runtime if to == "onnx" else None,
        data=config.data or SAMPLE,
        check=parity.to_plain(),
    )


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
    return some_images(config.data, config, model, "test", CHECKED)


def some_images(data: str | None, config: ExportConfig, model: Pretrained, split: Split, most: int) -> BadFiles:
    """At most so many images of a split, spread evenly. Raises ValueError when built-in ones do not fit the model."""
    channels = model.facts.encoder.channels or 3
    if data is None and channels not in SAMPLE_CHANNELS:
        raise ValueError(f"the model takes {channels} channels, which the built-in images lack; give others by --data")
    images = open_images(data or SAMPLE, split, channels, model.facts.pixel_range, bands=model.facts.bands)
    few = sorted(set(range(len(images))) - set(images.some(most)))
    return BadFiles(images.without(few), config.max_bad_files)


def batches(model: Pretrained, bad_files: BadFiles, what: str) -> list[Tensor]:
    """Images as uint8 batches of the model's size. what: for the bar. Raises ValueError when too many are torn."""
    facts = model.facts
    loader = whole_loader(bad_files.images, facts.encoder.image_size, None, BATCH, crop_pct=facts.crop_pct)
    return [batch.pixels for batch in readable(loader, bad_files, bar(what))]
