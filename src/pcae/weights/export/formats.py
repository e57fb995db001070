"""The formats that a trained model can be exported to, and the one way in which that is done."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from pcae.model.pretrained import Pretrained
from pcae.settings.choices import ExportFormat, Precision, Runtime
from pcae.weights.export.deployed import whole_answer
from pcae.weights.export.format import Format, Part
from pcae.weights.export.graphs import TorchExport
from pcae.weights.export.hugging_face import Transformers
from pcae.weights.export.mae import MAEFile, PCAEFile
from pcae.weights.export.onnx_files import Onnx
from pcae.weights.export.onnx_in_openvino import OnnxInOpenVINO
from pcae.weights.export.parity import Parity, Reopened, compare
from pcae.weights.export.place import check_folder, folder_in_one_move
from pcae.weights.export.timm_folder import TimmFolder
from pcae.weights.export.together import together
from pcae.weights.export.vit_mae import TransformersMAE
from pcae.weights.export.web import Web
from pcae.weights.files import load, save_model
from pcae.weights.reading import reason_of
from pcae.writing import check_writable, in_one_move


class Safetensors(Format):
    """Our own file: with all tensors that the model has, and no others."""

    suffix = ".safetensors"

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write the model as a run does."""
        save_model(place, model.encoder.vit, model.facts)

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The file as `pcae.load` reads it."""
        again = load(place)
        return lambda images: (whole_answer(again, images).output,)


FORMATS: dict[ExportFormat, Format] = {
    "onnx": Onnx(),
    "torch-export": TorchExport(),
    "timm": TimmFolder(),
    "hf": Transformers(),
    "vitmae": TransformersMAE(),
    "mae": MAEFile(),
    "pcae-code": PCAEFile(),
    "safetensors": Safetensors(),
    "web": Web(),
}


def reader_of(to: ExportFormat, runtime: Runtime) -> Format:
    """The format as a runtime reads it. Raises ValueError, with the remedy, where there is none such, or not here."""
    if runtime == "onnxruntime":
        return FORMATS[to]
    if to != "onnx":
        raise ValueError(f"runtime {runtime!r} reads ONNX files, --check is of format {to}; leave --runtime out")
    form = OnnxInOpenVINO()
    absent = [package for package in form.packages if find_spec(package) is None]
    if absent:
        raise ValueError(
            f"--runtime {runtime} checks by {', '.join(absent)}, not installed: pip install {' '.join(form.packages)}"
        )
    return form


def check_format(to: ExportFormat, out: Path, drop_ratio: float | None, rule: str = "") -> None:
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
    if rule and not form.reduces:
        raise ValueError(f"{rule} is not for --to {to}, which drops nothing; leave it out")
    if form.suffix is None:
        check_folder(out)
    else:
        check_writable(out, form.suffix)


def running(reopened: Reopened, place: Path) -> Reopened:
    """The same; where it cannot take the images, it raises ValueError that names the file."""

    def answer(images: Tensor) -> tuple[Tensor, ...]:
        try:
            return reopened(images)
        except Exception as error:  # errors of ONNX Runtime, timm and transformers are of many kinds
            raise ValueError(
                f"{place} does not take the images of {images.shape[2]} x {images.shape[3]} that the weights take: "
                f"{reason_of(error)}; give the size that it was made for by --image-size H W"
            ) from error

    return answer


def held_against(
    form: Format,
    model: Pretrained,
    place: Path,
    drop_ratio: float,
    batches: Sequence[Tensor],
    precision: Precision | None = None,
) -> Parity:
    """What a file or folder answers, at each of its drop ratios, compared with the model in PyTorch. precision: of its
    numbers, where it is not the format's."""
    return together(
        [one_held_against(part, model, batches, precision) for part in form.parts(model, drop_ratio, place)]
    )


def one_held_against(
    part: Part, model: Pretrained, batches: Iterable[Tensor], precision: Precision | None = None
) -> Parity:
    """What a part of an export answers, compared with the model in PyTorch."""
    form, drop_ratio, place = part
    again, ours = running(form.reopen(model, place), place), form.reference(model, drop_ratio)
    ranks = model.facts.classes is not None
    return compare(ours, again, batches, form.tolerance, ranks=ranks, precision=precision or form.precision)


def export(
    model: Pretrained,
    to: ExportFormat,
    out: Path,
    drop_ratio: float,
    batches: Sequence[Tensor],
    beside: Mapping[str, bytes] | None = None,
    form: Format | None = None,
) -> Parity:
    """Write a model, on the CPU and in evaluation mode, read it back by the program that it is for, and compare both.

    drop_ratio: for onnx and torch-export. batches: uint8 images to compare on. beside: files that go into a folder with
    the model, by their names. form: in place of the usual format of that name. Raises ValueError with the numbers when
    the answers differ, and for a model that the format cannot hold; nothing is written then.
    """
    form = form or FORMATS[to]
    form.check(model)
    with (in_one_move if form.suffix else folder_in_one_move)(out) as place:
        form.write(model, drop_ratio, place)
        for name, content in (beside or {}).items():
            (place / name).write_bytes(content)
        parity = held_against(form, model, place, drop_ratio, batches)
        if not parity.holds:
            raise ValueError(
                f"the exported model does not answer as PyTorch does: {parity.describe()}; nothing was kept"
            )
    return parity
