"""Static quantisation of an ONNX file, by ONNX Runtime's own tool: which layers, which ranges, what stays float."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from pcae.weights.export.graphs import quiet

LINEAR = ["MatMul", "Gemm"]
"""Operators that may be linear layers."""


def quantise(plain: Path, place: Path, calibration: Iterable[Tensor]) -> None:
    """Quantise the products with weights of an ONNX file: weights by channel, activations by what calibration shows.

    Numbers travel in float between these products, so that norms, softmax and the scores that rank tokens see no more
    rounding than the products make. Products of queries with keys, and of attention with values, stay float. Weights
    have 7 bits: with 8, machines without VNNI let sums overflow without a word. Where tokens are dropped, the layers
    that the first choice depends on have weights in float16 and round no activations: a token that is lost there is
    lost to all later layers.
    """
    import onnx

    with TemporaryDirectory(prefix="pcae.") as folder, quiet():
        prepared = prepare(plain, Path(folder))
        model = onnx.load(prepared)
        first = ranking(model)
        quantise_layers(prepared, place, [name for name in with_weights(model) if name not in first], calibration)
        if first:
            model = onnx.load(place)
            store_in_half(model, first)
            onnx.save(model, place)


def prepare(plain: Path, folder: Path) -> Path:
    """The same file with constants folded and shapes inferred, as the tool wants it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(plain), str(folder / "prepared.onnx"))
    return folder / "prepared.onnx"


def quantise_layers(source: Path, place: Path, names: list[str], calibration: Iterable[Tensor]) -> None:
    """Write a file in which the linear layers of these names are quantised, weights and activations."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = feeds(calibration)

        def get_next(self) -> Any:
            return next(self.left, None)

    quantize_static(
        str(source),
        str(place),
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=LINEAR,
        nodes_to_quantize=names,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"OpTypesToExcludeOutputQuantization": LINEAR},
    )


def feeds(batches: Iterable[Tensor]) -> Iterator[dict[str, Any]]:
    """What ONNX Runtime is given."""
    return ({"images": images.numpy()} for images in batches)


def with_weights(model: Any) -> list[str]:
    """The names of an ONNX model's linear layers: those of these operators whose second factor is stored."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in LINEAR and node.input[1] in stored]


def ranking(model: Any) -> set[str]:
    """The names of the linear layers that the first choice of tokens depends on; none where none is made."""
    source = {output: node for node in model.graph.node for output in node.output}
    left = [node for node in model.graph.node if node.op_type == "TopK"][:1]
    seen: set[str] = set()
    while left:
        found = [source[name] for name in left.pop().input if name in source]
        left += [node for node in found if node.name not in seen]
        seen |= {node.name for node in found}
    return seen.intersection(with_weights(model))


def store_in_half(model: Any, names: Iterable[str]) -> None:
    """Keep the weights of these linear layers as float16, and compute with them in float32."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.name in set(names)]:
        weight, half = stored[node.input[1]], f"{node.name}_half"
        values = numpy_helper.to_array(weight).astype(np.float16)
        model.graph.initializer.append(numpy_helper.from_array(values, half))
        node.input[1] = f"{node.name}_single"
        model.graph.node.insert(0, helper.make_node("Cast", [half], [node.input[1]], name=half, to=TensorProto.FLOAT))
        model.graph.initializer.remove(weight)


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
