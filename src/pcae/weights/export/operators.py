"""PyTorch's operations in operators of ONNX whose answer to an image does not depend on the others of its batch."""

from collections.abc import Callable
from typing import Any

import torch

OVER_TOKENS = [1]
"""Axes of a sum over the tokens of [batch, tokens, dim]."""


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """By PyTorch's operation, the function that writes it into a graph, where the exporter's own does not serve."""
    return {
        torch.ops.aten.linalg_vector_norm.default: euclidean_norm,
        torch.ops.aten.sum.dim_IntList: total,
        torch.ops.aten.mean.dim: mean,
    }


def operators() -> Any:
    """ONNX's operators, called with what stands for tensors while a graph is written."""
    import onnxscript

    return onnxscript.opset18


def euclidean_norm(vectors: Any, order: float | int, dim: list[int], keepdim: bool = False) -> Any:
    """A norm in operators that ONNX Runtime's tools know: its quantisation stumbles over ReduceL2 of opset 18."""
    assert order == 2
    op = operators()
    return op.Sqrt(op.ReduceSum(op.Mul(vectors, vectors), op.Constant(value_ints=dim), keepdims=int(keepdim)))


def total(values: Any, dim: list[int], keepdim: bool = False, dtype: int = -1) -> Any:
    """A sum; over tokens as a product with ones.

    ONNX Runtime's ReduceSum adds up the tokens of one image in another order than those of two. The last digits differ
    then, and what is rounded to 8 or 16 bits after them falls to another side now and then.
    """
    op = operators()
    if list(dim) != OVER_TOKENS or len(values.shape) != 3:
        return op.ReduceSum(values, op.Constant(value_ints=list(dim)), keepdims=int(keepdim))
    return over_tokens(values, 1.0, keepdim)


def mean(values: Any, dim: list[int], keepdim: bool = False, dtype: int = -1) -> Any:
    """A mean, as `total` has it."""
    op = operators()
    if list(dim) != OVER_TOKENS or len(values.shape) != 3:
        return op.ReduceMean(values, op.Constant(value_ints=list(dim)), keepdims=int(keepdim))
    return over_tokens(values, 1 / values.shape[1], keepdim)


def over_tokens(values: Any, weight: float, keepdim: bool) -> Any:
    """The sum of the tokens of [batch, tokens, dim], each times `weight`."""
    op = operators()
    weights = op.CastLike(op.Constant(value_floats=[weight] * values.shape[1]), values)
    summed = op.MatMul(op.Unsqueeze(weights, op.Constant(value_ints=[0])), values)
    return summed if keepdim else op.Squeeze(summed, op.Constant(value_ints=OVER_TOKENS))


def softmax_in_single(graph: Any) -> None:
    """Compute every softmax of float16 numbers in float32, in a graph of onnx_ir's.

    ONNX Runtime's own of float16 on the CPU answers by where a row lies in memory, and so by who else is in the batch.
    """
    import onnx_ir as ir

    for node in [node for node in graph.all_nodes() if node.op_type == "Softmax"]:
        if node.inputs[0].dtype != ir.DataType.FLOAT16:
            continue
        wide = ir.node("Cast", [node.inputs[0]], attributes={"to": ir.DataType.FLOAT.value})
        output = node.outputs[0]
        back = ir.node("Cast", [output], attributes={"to": ir.DataType.FLOAT16.value})
        ir.convenience.replace_all_uses_with(output, back.outputs[0])
        back.replace_input_with(0, output)
        node.replace_input_with(0, wide.outputs[0])
        graph.insert_before(node, wide)
        graph.insert_after(node, back)
        wide.outputs[0].dtype = output.dtype = ir.DataType.FLOAT
        back.outputs[0].dtype, back.outputs[0].shape = ir.DataType.FLOAT16, output.shape
