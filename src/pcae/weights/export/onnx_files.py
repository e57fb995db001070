"""ONNX files: written by PyTorch's exporter, read by ONNX Runtime."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.weights.export.deployed import Deployed
from pcae.weights.export.graphs import (
    TYPES,
    Graph,
    check_inputs,
    fed,
    output_names,
    properties,
    quiet,
    settings_in,
)
from pcae.weights.export.operators import softmax_in_single, translations
from pcae.weights.export.parity import Reopened
from pcae.weights.reading import reason_of

LARGEST = 2**31 - 2**24
"""Bytes of weights that fit into one ONNX file, with room for the graph."""
DYNAMIC = {"images": {0: "batch"}}
"""The only size that may change: the number of images."""


class Onnx(Graph):
    """An ONNX file for ONNX Runtime."""

    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """One self-contained file. Raises ValueError for weights that no ONNX file can hold."""
        write_graph(Deployed(model, drop_ratio).eval(), model.facts, place, {"precision": self.precision})

    def said(self, place: Path) -> dict[str, Any]:
        """The metadata, which quantisation leaves as they are; nothing in files of others."""
        return settings_in(session_of(place).get_modelmeta().custom_metadata_map, place)

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The file, run by ONNX Runtime on the CPU."""
        session = session_of(place)
        inputs, names = session.get_inputs(), [output.name for output in session.get_outputs()]
        check_inputs(len(inputs), place)
        wanted = compared(names)

        def run(images: Tensor) -> list[Tensor]:
            return list(map(torch.from_numpy, session.run(wanted, {inputs[0].name: images.numpy()})))

        return fed(model, inputs[0].shape, TYPES.get(inputs[0].type), run)


def compared(outputs: list[str]) -> list[str]:
    """Of a file's outputs the first, and the kept ids."""
    return [outputs[0], *(name for name in outputs if name.startswith("kept_ids_"))]


def write_graph(deployed: Deployed, facts: PretrainedFacts, place: Path, more: dict[str, Any]) -> None:
    """One self-contained file that says of itself what `properties` has, and `more`.

    Raises ValueError for weights that no ONNX file can hold.
    """
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
            custom_translation_table=translations(),
        )
        assert program is not None
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # the lines of source, with their paths, that each node came from
        softmax_in_single(program.model.graph)
        said = {name: json.dumps(value) for name, value in (properties(deployed, facts) | more).items()}
        program.model.metadata_props.update(said | {"pcae": version("pcae")})
        program.save(place, external_data=False)


def session_of(place: Path) -> Any:
    """The file in ONNX Runtime, on the CPU. Raises ValueError, naming it, when it cannot be run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors are of many kinds
        raise ValueError(f"{place} cannot be run by ONNX Runtime: {reason_of(error)}") from error
