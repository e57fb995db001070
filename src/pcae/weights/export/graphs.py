"""Models as graphs that need no pcae to run: ONNX files and PyTorch's exported programs."""

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.weights.export.deployed import Deployed
from pcae.weights.export.format import Format
from pcae.weights.export.parity import Reference, Reopened

LARGEST = 2**31 - 2**24
"""Bytes of weights that fit into one ONNX file, with room for the graph."""
DYNAMIC = {"images": {0: "batch"}}
"""The only size that may change: the number of images."""


def output_names(deployed: Deployed, facts: PretrainedFacts) -> list[str]:
    """logits or features, and kept_ids_B for each block B after which tokens were dropped."""
    with torch.no_grad():
        stages = deployed.answer(deployed.example()).stages
    return ["features" if facts.classes is None else "logits", *(f"kept_ids_{stage.block}" for stage in stages)]


def properties(deployed: Deployed, facts: PretrainedFacts) -> dict[str, str]:
    """What the file says of itself, in JSON: how it was made and how its input is to be read."""
    said: dict[str, Any] = {
        "classes": facts.classes,
        "image_size": facts.encoder.image_size,
        "drop_ratio": deployed.drop_ratio,
        "pool_dropped": deployed.pool_dropped,
        "mean": facts.mean,
        "std": facts.std,
        "crop_pct": facts.crop_pct,
        "pixel_range": facts.pixel_range,
    }
    return {name: json.dumps(value) for name, value in said.items()} | {"pcae": version("pcae")}


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


class Onnx(Graph):
    """An ONNX file for ONNX Runtime."""

    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """One self-contained file. Raises ValueError for weights that no ONNX file can hold."""
        deployed = Deployed(model, drop_ratio).eval()
        size = sum(value.numel() * value.element_size() for value in deployed.state_dict().values())
        if size > LARGEST:
            raise ValueError(
                f"an ONNX file holds at most 2 GiB, the weights have {size / 2**30:.2f}; use --to torch-export"
            )
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                deployed,
                (deployed.example(),),
                input_names=["images"],
                output_names=output_names(deployed, model.facts),
                dynamic_shapes=DYNAMIC,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()  # the lines of source, with their paths, that each node came from
            program.model.metadata_props.update(properties(deployed, model.facts))
            program.save(place, external_data=False)

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The file, run by ONNX Runtime on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
        return lambda images: tuple(map(torch.from_numpy, session.run(None, {"images": images.numpy()})))


class TorchExport(Graph):
    """A file of PyTorch's own, of an exported program."""

    suffix = ".pt2"

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Export for batches of any size, and save."""
        deployed = Deployed(model, drop_ratio).eval()
        with quiet(), torch.no_grad():
            shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
            program = torch.export.export(deployed, (deployed.example(),), dynamic_shapes=shapes)
            with place.open("wb") as file:
                torch.export.save(program, file)  # pyright: ignore[reportArgumentType]

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The file, run by PyTorch."""
        with quiet(), place.open("rb") as file:
            module = torch.export.load(file).module()  # pyright: ignore[reportArgumentType]
        return lambda images: tuple(module(images))
