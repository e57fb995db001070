"""Models as graphs that need no pcae to run: what they say of themselves and take, and PyTorch's exported programs."""

import contextlib
import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings.choices import Precision
from pcae.weights.export.deployed import Deployed
from pcae.weights.export.format import Format
from pcae.weights.export.parity import Reference, Reopened
from pcae.weights.reading import reason_of

SAID = "pcae.json"
"""The extra file of a .pt2 file with what it says of itself."""
SETTINGS = {"drop_ratio": (int, float), "pool_dropped": bool, "rule": dict, "precision": str}
"""What decides the answers, of all that a file says, and its type; older files have `pool_dropped` for a rule."""
TYPES = {
    "tensor(uint8)": torch.uint8,
    "tensor(float16)": torch.float16,
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
}
"""Types of inputs, in ONNX Runtime's words."""


def output_names(deployed: Deployed, facts: PretrainedFacts) -> list[str]:
    """logits or features, and kept_ids_B for each block B after which tokens were dropped."""
    with torch.no_grad():
        stages = deployed.answer(deployed.example()).stages
    return ["features" if facts.classes is None else "logits", *(f"kept_ids_{stage.block}" for stage in stages)]


def properties(deployed: Deployed, facts: PretrainedFacts) -> dict[str, Any]:
    """What a file says of itself: how it was made and how its input is to be read."""
    return {
        "classes": facts.classes,
        "multi_label": facts.multi_label,
        "image_size": facts.encoder.image_size,
        "drop_ratio": deployed.drop_ratio,
        "rule": asdict(deployed.rule),
        "mean": facts.mean,
        "std": facts.std,
        "crop_pct": facts.crop_pct,
        "pixel_range": facts.pixel_range,
        "bands": facts.bands,
    }


def without_devices(program: torch.export.ExportedProgram) -> None:
    """Take out of a program the checks that its tensors lie on the device that it was made on."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
    program.graph_module.recompile()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the chatter of the exporters, which is printed only where they fail."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BaseException:
        sys.stderr.write(said.getvalue())
        raise


class Graph(Format):
    """A graph that drops tokens as the model does."""

    reduces = True
    tolerance = 1e-4

    def reference(self, model: Pretrained, drop_ratio: float) -> Reference:
        """PyTorch's answers at the drop ratio."""
        return Deployed(model, drop_ratio).eval().answer


def settings_in(found: Mapping[str, str], place: Path) -> dict[str, Any]:
    """What decides the answers, of the JSON that a file says. Raises ValueError, naming the file, for other values."""
    try:
        said = {name: json.loads(found[name]) for name in SETTINGS if name in found}
    except ValueError as error:
        raise ValueError(f"{place} has metadata that are no JSON: {reason_of(error)}; export it again") from error
    odd = [name for name, value in said.items() if not isinstance(value, SETTINGS[name])]
    odd += ["precision"] if said.get("precision", "fp32") not in get_args(Precision) else []
    if odd:
        raise ValueError(f"{place} says that {odd[0]} is {said[odd[0]]!r}, which cannot be; export it again")
    return said


def check_inputs(count: int, place: Path) -> None:
    """Raise ValueError for a file that takes more than images."""
    if count != 1:
        raise ValueError(f"{place} takes {count} inputs, not images alone, and cannot be held against the weights")


def check_size(shape: Sequence[Any], model: Pretrained) -> None:
    """Raise ValueError, with the remedy, for a file that takes images of another size or other channels."""
    ours = [model.facts.encoder.channels or 3, *model.facts.encoder.image_size]
    theirs = [size if isinstance(size, int) else None for size in shape[1:]]
    if len(shape) == 4 and all(size in (None, other) for size, other in zip(theirs, ours, strict=True)):
        return
    same = len(shape) == 4 and theirs[0] in (None, ours[0]) and None not in theirs[1:]
    remedy = f"; try --image-size {theirs[1]} {theirs[2]}" if same else ": it is of another model, or wants other axes"
    raise ValueError(f"the file takes images of {list(shape[1:])}, the weights are for {ours}{remedy}")


def fed(
    model: Pretrained, shape: Sequence[Any], kind: torch.dtype | None, run: Callable[[Tensor], Sequence[Tensor]]
) -> Reopened:
    """A file's answers to images of any number, in its type: those that take no uint8 get normalised images.

    shape: of its input; whole numbers are fixed. Raises ValueError for inputs of other sizes and types.
    """
    check_size(shape, model)
    if kind not in TYPES.values():
        raise ValueError(f"the file takes images of another type than {', '.join(TYPES)}")

    def answer(images: Tensor) -> tuple[Tensor, ...]:
        given = images if kind == torch.uint8 else model.normalise(images).to(kind)
        found = [run(part) for part in padded(given, shape[0])]
        outputs = [torch.cat(list(output))[: len(images)] for output in zip(*found, strict=True)]
        return outputs[0].float(), *outputs[1:]

    return answer


def padded(images: Tensor, batch: Any) -> list[Tensor]:
    """The images in batches of a fixed number, the last one filled up by repetition; in one if any number will do."""
    if not isinstance(batch, int):
        return [images]
    missing = -len(images) % batch
    return list(torch.cat([images, *[images[-1:]] * missing]).split(batch))


class TorchExport(Graph):
    """A file of PyTorch's own, of an exported program."""

    suffix = ".pt2"

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Export for batches of any size, and save."""
        deployed = Deployed(model, drop_ratio).eval()
        with quiet(), torch.no_grad():
            shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
            program = torch.export.export(deployed, (deployed.example(),), dynamic_shapes=shapes)
            without_devices(program)
            said = json.dumps(properties(deployed, model.facts) | {"pcae": version("pcae")})
            with place.open("wb") as file:
                torch.export.save(program, file, extra_files={SAID: said})  # pyright: ignore[reportArgumentType]

    def said(self, place: Path) -> dict[str, Any]:
        """What the extra file in it says; nothing in files of others."""
        extra = {SAID: ""}
        program_of(place, extra)
        found = json.loads(extra[SAID] or "{}")
        return settings_in({name: json.dumps(value) for name, value in found.items()}, place)

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The file, run by PyTorch; of its answers the first, and whole numbers, which are the kept ids."""
        program = program_of(place)
        module, names = program.module(), program.graph_signature.user_inputs
        check_inputs(len(names), place)
        (images_in,) = [node.meta["val"] for node in program.graph.nodes if node.name in names]

        def run(images: Tensor) -> list[Tensor]:
            found = module(images)
            first, *others = found if isinstance(found, (tuple, list)) else [found]
            return [first, *(output for output in others if output.dtype == torch.int64)]

        return fed(model, tuple(images_in.shape), images_in.dtype, run)


def program_of(place: Path, extra: dict[str, str] | None = None) -> torch.export.ExportedProgram:
    """The program in a file, and what its extra files say. Raises ValueError, naming the file, when there is none."""
    if not zipfile.is_zipfile(place):
        raise ValueError(f"{place} holds no exported program: it is no archive")
    try:
        with quiet(), place.open("rb") as file:
            return torch.export.load(file, extra_files=extra)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # its errors are of many kinds
        raise ValueError(f"{place} holds no exported program: {reason_of(error)}") from error
