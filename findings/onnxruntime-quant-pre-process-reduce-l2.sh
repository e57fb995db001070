#!/usr/bin/env bash
# Expected: onnxruntime's quant_pre_process takes every valid model of opset 18, whose ReduceL2 has its axes as an input,
# as it takes ReduceSum and ReduceMean of that opset.
# Seen: for ReduceL2 it fails in the symbolic shape inference with "object of type 'NoneType' has no len()".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q 'onnxruntime==1.32.0' 'onnx==1.23.2' 'numpy==2.4.6' sympy==1.14.0

"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

print("onnxruntime", onnxruntime.__version__, "- expected: three times taken")
said = {}
for kind in ("ReduceSum", "ReduceMean", "ReduceL2"):
    nodes = [
        helper.make_node(kind, ["x", "axes"], ["y"], keepdims=1),
        helper.make_node("Expand", ["y", "shape"], ["z"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xz"]
    constants = {"axes": [-1], "shape": [1, 4]}
    held = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, f"{sys.argv[1]}/a.onnx")
    try:
        quant_pre_process(f"{sys.argv[1]}/a.onnx", f"{sys.argv[1]}/b.onnx", skip_optimization=True)
        said[kind] = "taken"
    except TypeError as error:
        said[kind] = str(error)
    print(kind, said[kind])
sys.exit("the behaviour has changed" if said["ReduceL2"] == "taken" else 0)
PYTHON
