"""ONNX files of every rule by which tokens are dropped: fixed shapes, PyTorch's tokens, and what stays float32."""

from itertools import product
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed

from pcae.settings.choices import CriterionName, FoldName
from pcae.settings.trained import Rule
from pcae.weights.export.deployed import NOT_EXPORTED
from pcae.weights.export.formats import FORMATS, held_against
from pcae.weights.export.precision import OnnxHalf
from tests.weights.exported import model_of, pictures

EXPORTED = [name for name in get_args(CriterionName) if name not in NOT_EXPORTED]
RULES = list(product(EXPORTED, get_args(FoldName), [False, True]))
PLACES = (0, 1)
"""After all blocks of three but the last."""
DATA_DEPENDENT = {"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "Unique"}
"""Operators whose answers' shapes depend on what they are given."""
FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def in_turn(quick: list[tuple]) -> list:
    """These rules whenever tests run, the others where all tests do."""
    return [rule if rule in quick else pytest.param(*rule, marks=pytest.mark.slow) for rule in RULES]


def dropping(criterion, fold, before_mlp, after=PLACES, **options):
    """A classifier that drops tokens by a rule."""
    rule = Rule(criterion=criterion, fold=fold, after=after, before_mlp=before_mlp)
    return model_of(classes=["a", "b", "c"], global_pool="avg", rule=rule, **options)


def sizes_of(graph):
    """The shape of everything in a graph, after inference; None where a size is not known."""
    whole = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True).graph
    values = {value.name: value.type.tensor_type.shape.dim for value in (*whole.value_info, *whole.output)}
    names = [name for node in whole.node for name in node.output]
    return [
        [one.dim_value if one.HasField("dim_value") else None for one in values[name]] if name in values else [None]
        for name in names
    ]


def check_rule(model, ratio, place):
    """Fixed shapes, and the same tokens as in PyTorch for 64 images, together and each of some alone."""
    FORMATS["onnx"].write(model, ratio, place)
    graph = onnx.load(place)
    assert not DATA_DEPENDENT & {node.op_type for node in graph.graph.node}
    make_dim_param_fixed(graph.graph, "batch", 5)
    assert all(None not in sizes for sizes in sizes_of(graph))
    session, images = onnxruntime.InferenceSession(place), pictures(model, 64)
    ours = FORMATS["onnx"].reference(model, ratio)(images)
    output, *kept = session.run(None, {"images": images.numpy()})
    assert len(kept) == len(ours.stages) > 0
    for stage, ids in zip(ours.stages, kept, strict=True):
        assert np.array_equal(ids, stage.kept_ids)
    np.testing.assert_allclose(output, ours.output.detach(), rtol=0, atol=1e-5)
    for row in range(0, 64, 9):
        alone, *ids = session.run(None, {"images": images[row : row + 1].numpy()})
        np.testing.assert_allclose(alone[0], output[row], rtol=0, atol=1e-5)
        assert all(np.array_equal(one[0], others[row]) for one, others in zip(ids, kept, strict=True))


@pytest.mark.parametrize(
    ("criterion", "fold", "before_mlp"),
    in_turn([("bipartite", "merge", True), ("saliency", "leave", False)]),
)
def test_a_rules_graph_has_fixed_shapes_and_keeps_pytorchs_tokens(criterion, fold, before_mlp, tmp_path):
    torch.manual_seed(0)
    check_rule(dropping(criterion, fold, before_mlp), 0.3, tmp_path / "a.onnx")


def inputs_by_operator(place):
    """The types of what operators of a graph are given first."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(place), strict_mode=True).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        found.setdefault(node.op_type, []).append(kinds[node.input[0]] if node.input else None)
    return found


@pytest.mark.parametrize(
    ("criterion", "fold"),
    [
        pair if pair == ("bipartite", "merge") else pytest.param(*pair, marks=pytest.mark.slow)
        for pair in product(EXPORTED, get_args(FoldName))
    ],
)
def test_in_half_precision_a_rules_scores_sums_and_sizes_are_single(criterion, fold, tmp_path):
    """Of 196 patches most go, so that some tokens stand for many; an image is answered alone as among others."""
    torch.manual_seed(0)
    ratio = 0.45 if criterion == "bipartite" else 0.8
    model, place = dropping(criterion, fold, before_mlp=True, image_size=(112, 112)), tmp_path / "half.onnx"
    OnnxHalf().write(model, ratio, place)
    kinds = inputs_by_operator(place)
    assert kinds["TopK"][::2] == [FLOAT] * 2  # the scores; then the ids are put in order
    for operator in {"Div", "ReduceSum", "ReduceMax", "ArgMax", "Softmax"} & kinds.keys():
        assert HALF not in kinds[operator], operator
    assert ("Log" in kinds) == (fold == "merge")
    images = pictures(model, 32)
    found = held_against(FORMATS["onnx"], model, place, ratio, [images], "fp16")
    assert found.same_kept >= 16 and found.max_difference < 0.05 * found.size
    session = onnxruntime.InferenceSession(place)
    output, *kept = session.run(None, {"images": images.numpy()})
    alone, *ids = session.run(None, {"images": images[-1:].numpy()})
    np.testing.assert_allclose(alone[0], output[-1], rtol=0, atol=1e-4)
    assert all(np.array_equal(one[0], others[-1]) for one, others in zip(ids, kept, strict=True))
