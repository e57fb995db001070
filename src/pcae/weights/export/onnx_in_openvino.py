"""ONNX files as Intel's OpenVINO reads and runs them."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcae.model.pretrained import Pretrained
from pcae.weights.export.graphs import check_inputs, fed
from pcae.weights.export.onnx_files import Onnx, compared
from pcae.weights.export.parity import Reopened
from pcae.weights.reading import reason_of

TYPES = {"u8": torch.uint8, "f16": torch.float16, "f32": torch.float32, "f64": torch.float64}
"""Types of inputs, in OpenVINO's words."""


class OnnxInOpenVINO(Onnx):
    """An ONNX file for OpenVINO, which takes the numbers as they are: float32 where the file says float32."""

    packages = ("onnxruntime", "openvino")

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The file, run by OpenVINO on the CPU."""
        compiled = compiled_by_openvino(place)
        check_inputs(len(compiled.inputs), place)
        (images_in,) = compiled.inputs
        wanted = compared([output.get_any_name() for output in compiled.outputs])

        def run(images: Tensor) -> list[Tensor]:
            found = compiled(images.numpy())
            return [torch.from_numpy(found[name].copy()) for name in wanted]

        shape = [size.get_length() if size.is_static else str(size) for size in images_in.partial_shape]
        return fed(model, shape, TYPES.get(images_in.element_type.to_string()), run)


def compiled_by_openvino(place: Path) -> Any:
    """The file in OpenVINO, on the CPU. Raises ValueError, naming it, when it cannot be run."""
    try:
        core = import_module("openvino").Core()
        return core.compile_model(core.read_model(place), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except Exception as error:  # its errors are of many kinds
        raise ValueError(f"{place} cannot be run by OpenVINO: {reason_of(error)}") from error
