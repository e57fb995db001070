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

from pcae.model.pretrained import PretrainedFacts
from pcae.weights.export.deployed import Deployed
from pcae.weights.export.parity import Reopened

LARGEST = 2**31 - 2**24
"""Bytes of weights that fit into one ONNX file, with room for the graph."""
DYNAMIC = {"images": {0: "batch"}}
"""The only size that may change: the number of images."""


def write_onnx(deployed: Deployed, facts: PretrainedFacts, path: Path) -> None:
    """One self-contained file. Raises ValueError for weights that no ONNX file can hold."""
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
            output_names=output_names(deployed, facts),
            dynamic_shapes=DYNAMIC,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # the lines of source, with their paths, that each node came from
        program.model.metadata_props.update(properties(deployed, facts))
        program.save(path, external_data=False)


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


def reopen_onnx(path: Path) -> Reopened:
    """The file, run by ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: tuple(map(torch.from_numpy, session.run(None, {"images": images.numpy()})))


def write_torch_export(deployed: Deployed, path: Path) -> None:
    """PyTorch's own file of an exported program."""
    with quiet(), torch.no_grad():
        shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
        program = torch.export.export(deployed, (deployed.example(),), dynamic_shapes=shapes)
        with path.open("wb") as file:
            torch.export.save(program, file)  # pyright: ignore[reportArgumentType]


def reopen_torch_export(path: Path) -> Reopened:
    """The file, run by PyTorch."""
    with quiet(), path.open("rb") as file:
        module = torch.export.load(file).module()  # pyright: ignore[reportArgumentType]
    return lambda images: tuple(module(images))


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
