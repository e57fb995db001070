"""The formats that a trained model can be exported to, and the one way in which that is done."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from pcae.model.pretrained import Pretrained
from pcae.settings.choices import ExportFormat
from pcae.weights.export import graphs
from pcae.weights.export.deployed import Deployed, whole_answer
from pcae.weights.export.hugging_face import (
    check_hugging_face,
    remarks_on_hugging_face,
    reopen_hugging_face,
    write_hugging_face,
)
from pcae.weights.export.mae import (
    check_mae,
    check_pcae_code,
    mae_decoder,
    remarks_on_mae,
    remarks_on_pcae_code,
    reopen_mae,
    write_mae,
    write_pcae_code,
)
from pcae.weights.export.parity import Parity, Reference, Reopened, compare
from pcae.weights.export.place import check_folder, folder_in_one_move
from pcae.weights.export.timm_folder import remarks_on_timm, reopen_timm, write_timm
from pcae.weights.export.vit_mae import check_vit_mae, reference_vit_mae, reopen_vit_mae, write_vit_mae
from pcae.weights.files import load, save_model
from pcae.writing import check_writable, in_one_move


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a format asks for and how close its answers must be.

    suffix: of its file; none for a folder. packages: what it needs beside pcae's own. tolerance: largest
    difference of logits or features. write: (model, drop ratio, place). reopen: (model, place), by the program that
    the format is for. reference: what its answers are held against. check: raises ValueError for a model that it
    cannot hold. remarks: what it will do otherwise. answers: what is compared, in words.
    """

    suffix: str | None
    packages: tuple[str, ...] = ()
    reduces: bool = False
    tolerance: float = 1e-5
    write: Callable[[Pretrained, float, Path], None]
    reopen: Callable[[Pretrained, Path], Reopened]
    reference: Callable[[Pretrained, float], Reference] = lambda model, _: partial(whole_answer, model)
    check: Callable[[Pretrained], None] = lambda _: None
    remarks: Callable[[Pretrained], list[str]] = lambda _: []
    answers: Callable[[Pretrained], str] = lambda model: "features" if model.facts.classes is None else "logits"


def reduced_reference(model: Pretrained, drop_ratio: float) -> Reference:
    """PyTorch's answers at a drop ratio."""
    return Deployed(model, drop_ratio).eval().answer


def reopen_ours(_: Pretrained, path: Path) -> Reopened:
    """The file as `pcae.load` reads it: with all tensors that the model has, and no others."""
    again = load(path)
    return lambda images: (whole_answer(again, images).output,)


FORMATS: dict[ExportFormat, Format] = {
    "onnx": Format(
        suffix=".onnx",
        packages=("onnx", "onnxscript", "onnxruntime"),
        reduces=True,
        tolerance=1e-4,
        write=lambda model, ratio, path: graphs.write_onnx(Deployed(model, ratio).eval(), model.facts, path),
        reopen=lambda _, path: graphs.reopen_onnx(path),
        reference=reduced_reference,
    ),
    "torch-export": Format(
        suffix=".pt2",
        reduces=True,
        tolerance=1e-4,
        write=lambda model, ratio, path: graphs.write_torch_export(Deployed(model, ratio).eval(), path),
        reopen=lambda _, path: graphs.reopen_torch_export(path),
        reference=reduced_reference,
    ),
    "timm": Format(
        suffix=None,
        write=lambda model, _, folder: write_timm(model, folder),
        reopen=reopen_timm,
        remarks=remarks_on_timm,
    ),
    "hf": Format(
        suffix=None,
        packages=("transformers",),
        write=lambda model, _, folder: write_hugging_face(model, folder),
        reopen=reopen_hugging_face,
        check=check_hugging_face,
        remarks=remarks_on_hugging_face,
    ),
    "vitmae": Format(
        suffix=None,
        packages=("transformers",),
        tolerance=1e-4,
        write=lambda model, _, folder: write_vit_mae(model, folder),
        reopen=reopen_vit_mae,
        reference=lambda model, _: reference_vit_mae(model),
        check=check_vit_mae,
        answers=lambda _: "features and predictions",
        remarks=remarks_on_hugging_face,
    ),
    "mae": Format(
        suffix=".pth",
        write=lambda model, _, path: write_mae(model, path),
        reopen=lambda model, path: reopen_mae(model, mae_decoder(model), path),
        check=check_mae,
        remarks=remarks_on_mae,
    ),
    "pcae-code": Format(
        suffix=".pth",
        write=lambda model, _, path: write_pcae_code(model, path),
        reopen=lambda model, path: reopen_mae(model, model.decoder, path),
        check=check_pcae_code,
        remarks=remarks_on_pcae_code,
    ),
    "safetensors": Format(
        suffix=".safetensors",
        write=lambda model, _, path: save_model(path, model.encoder.vit, model.facts),
        reopen=reopen_ours,
    ),
}


def check_format(to: ExportFormat, out: Path, drop_ratio: float | None, pool_dropped: bool = False) -> None:
    """Raise ValueError, with the remedy, for what can be seen before any weights are read."""
    form = FORMATS[to]
    absent = [package for package in form.packages if find_spec(package) is None]
    if absent:
        raise ValueError(
            f"--to {to} writes and checks by {', '.join(absent)}, not installed: pip install {' '.join(form.packages)}"
        )
    if drop_ratio is not None and not 0 <= drop_ratio < 1:
        raise ValueError(f"drop_ratio must lie in [0, 1), got {drop_ratio:g}")
    if drop_ratio and not form.reduces:
        raise ValueError(
            f"drop_ratio {drop_ratio:g} cannot be stored for --to {to}: what loads it computes every token; leave it "
            "out, or use --to onnx or torch-export"
        )
    if pool_dropped and not form.reduces:
        raise ValueError(f"pool_dropped is not for --to {to}, which drops nothing; leave it out")
    if form.suffix is None:
        check_folder(out)
    else:
        check_writable(out, form.suffix)


def export(
    model: Pretrained,
    to: ExportFormat,
    out: Path,
    drop_ratio: float,
    batches: Iterable[Tensor],
) -> Parity:
    """Write a model, on the CPU and in evaluation mode, read it back by the program that it is for, and compare both.

    drop_ratio: for onnx and torch-export. batches: uint8 images to compare on. Raises ValueError with the numbers when
    the answers differ, and for a model that the format cannot hold; nothing is written then.
    """
    form = FORMATS[to]
    form.check(model)
    with (in_one_move if form.suffix else folder_in_one_move)(out) as beside:
        form.write(model, drop_ratio, beside)
        parity = compare(form.reference(model, drop_ratio), form.reopen(model, beside), batches, form.tolerance)
        if not parity.holds:
            raise ValueError(
                f"the exported model does not answer as PyTorch does: {parity.describe()}; nothing was kept"
            )
    return parity
