"""ONNX files of smaller numbers: half precision, and eight bits by ONNX Runtime's static quantisation."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from pcae.model.pretrained import Pretrained
from pcae.settings.choices import Precision
from pcae.weights.export.deployed import Deployed, in_half
from pcae.weights.export.graphs import quiet
from pcae.weights.export.onnx_files import Onnx, write_graph


class OnnxHalf(Onnx):
    """An ONNX file whose patch embedding and blocks are float16.

    What stays float32: the normalisation, every softmax, the scores that rank tokens and the means of dropped ones, and
    what follows the blocks: last norm, pooling and classifier.
    """

    precision: Precision = "fp16"

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """One self-contained file."""
        write_graph(Deployed(in_half(model), drop_ratio).eval(), model.facts, place, {"precision": self.precision})


class OnnxInt8(Onnx):
    """An ONNX file whose linear layers are int8, made of the same model's file in float32.

    calibration: uint8 images whose numbers set the ranges. data: what they are, in words.
    """

    precision: Precision = "int8"

    def __init__(self, plain: Path, calibration: Iterable[Tensor], data: str) -> None:
        self.plain, self.calibration, self.data = plain, list(calibration), data

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """One self-contained file, which names what it was calibrated on."""
        images = sum(map(len, self.calibration))
        quantise(self.plain, place, self.calibration)
        describe(place, {"precision": self.precision, "calibration": self.data, "calibration_images": images})


def quantise(plain: Path, place: Path, calibration: Iterable[Tensor]) -> None:
    """Quantise the products with weights of an ONNX file: weights by channel, activations by what calibration shows.

    Numbers travel in float between these products, so that norms, softmax and the scores that rank tokens see no more
    rounding than the products make. Products of queries with keys, and of attention with values, stay float. Weights
    have 7 bits: with 8, machines without VNNI let sums overflow without a word.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = feeds(calibration)

        def get_next(self) -> Any:
            return next(self.left, None)

    with TemporaryDirectory(prefix="pcae.") as folder, quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(plain), str(prepared))
        linear = with_weights(onnx.load(prepared))
        quantize_static(
            str(prepared),
            str(place),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=LINEAR,
            nodes_to_quantize=linear,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": LINEAR},
        )


LINEAR = ["MatMul", "Gemm"]
"""Operators that may be linear layers."""


def with_weights(model: Any) -> list[str]:
    """The names of an ONNX model's linear layers: those of these operators whose second factor is stored."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in LINEAR and node.input[1] in stored]


def feeds(batches: Iterable[Tensor]) -> Iterator[dict[str, Any]]:
    """What ONNX Runtime is given."""
    return ({"images": images.numpy()} for images in batches)


def describe(place: Path, said: dict[str, Any]) -> None:
    """Put what a file says of itself into it, beside what it says already, and take out operator sets that it lacks."""
    import onnx

    model = onnx.load(place)
    kept = {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith("onnx.")}
    onnx.helper.set_model_props(model, kept | {name: json.dumps(value) for name, value in said.items()})
    used = {node.domain for node in model.graph.node}
    sets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(sets)
    onnx.save(model, place)
