"""ONNX files in fp16 and int8: what is rounded in them, and that an image's answer is its own."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.settings.network import EncoderConfig
from pcae.settings.trained import Rule
from pcae.weights.export.formats import FORMATS, export, held_against
from pcae.weights.export.precision import OnnxHalf, OnnxInt8
from pcae.weights.export.quantised import ranking, with_weights
from tests.weights.exported import model_of, pictures

RATIO = 0.3
FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def written(model, folder, ratio=RATIO):
    """The model's files by precision; int8 is calibrated on 32 pictures."""
    places = {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "int8")}
    FORMATS["onnx"].write(model, ratio, places["fp32"])
    OnnxHalf().write(model, ratio, places["fp16"])
    OnnxInt8(places["fp32"], [pictures(model, 32)], "pictures").write(model, ratio, places["int8"])
    return places


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A classifier on average pooling that drops 30 %, and its files."""
    model = model_of(classes=["a", "b", "c"], global_pool="avg", rule=Rule())
    return model, written(model, tmp_path_factory.mktemp("precision"))


def answers(place, images):
    """All outputs of an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(place, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images.numpy()})


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_image_is_answered_alone_as_in_a_batch_of_64(files, precision):
    model, places = files
    images = pictures(model, 64)
    together = answers(places[precision], images)
    for row in range(64):
        output, *kept = answers(places[precision], images[row : row + 1])
        np.testing.assert_allclose(output[0], together[0][row], rtol=0, atol=1e-4)
        assert all(np.array_equal(ids[0], others[row]) for ids, others in zip(kept, together[1:], strict=True))


def test_dynamic_quantisation_would_let_an_images_neighbours_change_its_answer(files, tmp_path):
    """Why it is not offered: the range of its numbers is that of the whole batch."""
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model, places = files
    quant_pre_process(str(places["fp32"]), str(tmp_path / "prepared.onnx"))
    quantize_dynamic(str(tmp_path / "prepared.onnx"), str(tmp_path / "dynamic.onnx"))
    images = pictures(model, 64)
    together = answers(tmp_path / "dynamic.onnx", images)[0]
    alone = np.concatenate([answers(tmp_path / "dynamic.onnx", image[None])[0] for image in images])
    assert np.abs(together - alone).max() > 1e-3


def test_in_half_precision_the_blocks_are_half_and_what_ranks_and_ends_is_single(files):
    graph = onnx.shape_inference.infer_shapes(onnx.load(files[1]["fp16"])).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kinds |= {name: tensor.data_type for name, tensor in stored.items()}
    by_operator = {}
    for node in graph.node:
        by_operator.setdefault(node.op_type, []).append(kinds[node.input[0]])
    assert {*by_operator["Conv"], *by_operator["Gelu"]} == {HALF} and {*by_operator["Softmax"]} == {FLOAT}
    assert by_operator["TopK"][::2] == [FLOAT] * 3  # the scores; then the ids are put in order
    assert by_operator["Gemm"] == [FLOAT] and kinds["logits"] == FLOAT
    assert Counter(by_operator["LayerNormalization"]) == {HALF: 6, FLOAT: 1}
    large = {tuple(tensor.dims): tensor.data_type for tensor in stored.values() if np.prod(tensor.dims) > 24}
    assert [dims for dims, kind in large.items() if kind == FLOAT] == [(3, 24)]  # the classifier
    assert HALF in large.values()


def test_in_int8_linear_layers_are_quantised_by_channel_but_for_those_of_the_first_choice(files):
    """The first stage stands after the first of three blocks, each with four linear layers."""
    model = onnx.load(files[1]["int8"])
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    source = {output: node for node in model.graph.node for output in node.output}
    made = {node.name: [source[name] for name in node.input if name in source] for node in model.graph.node}
    quantised = [node for node in model.graph.node if any(one.op_type == "DequantizeLinear" for one in made[node.name])]
    assert Counter(node.op_type for node in quantised) == {"MatMul": 8, "Gemm": 1}
    for node in quantised:
        weight, scale, *_ = source[node.input[1]].input
        assert stored[weight].dtype == np.int8
        assert np.abs(stored[weight]).max() <= 64  # no sum of two products overflows 16 bits
        assert stored[scale].size == (3 if node.op_type == "Gemm" else stored[weight].shape[1])
    halves = [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in stored]
    assert [stored[node.input[0]].shape for node in halves[::-1]] == [(24, 72), (24, 24), (24, 96), (96, 24)]
    assert {stored[node.input[0]].dtype for node in halves} == {np.dtype(np.float16)}
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    assert stored[conv.input[1]].dtype == np.float32


def test_where_no_token_is_dropped_all_linear_layers_are_quantised(files, tmp_path):
    model, _ = files
    FORMATS["onnx"].write(model, 0.0, tmp_path / "plain.onnx")
    plain = onnx.load(tmp_path / "plain.onnx")
    assert ranking(plain) == set() and len(with_weights(plain)) == 13
    OnnxInt8(tmp_path / "plain.onnx", [pictures(model, 8)], "d").write(model, 0.0, tmp_path / "int8.onnx")
    source = {output: node for node in onnx.load(tmp_path / "int8.onnx").graph.node for output in node.output}
    products = [node for node in source.values() if node.op_type in ("MatMul", "Gemm")]
    weights = [source[node.input[1]].op_type for node in products if node.input[1] in source]
    assert weights.count("DequantizeLinear") == 13


def test_files_say_their_precision_and_what_they_were_calibrated_on(files):
    _, places = files
    for precision, place in places.items():
        assert FORMATS["onnx"].said(place)["precision"] == precision
        said = onnxruntime.InferenceSession(place).get_modelmeta().custom_metadata_map
        assert said["classes"] == '["a", "b", "c"]' and said["pcae"] == "0.1.0"
        assert ("calibration" in said) == (precision == "int8")
    assert (said["calibration"], said["calibration_images"]) == ('"pictures"', "32")
    assert {entry.domain for entry in onnx.load(places["int8"]).opset_import} == {""}


def test_the_reports_of_smaller_numbers(files):
    """The largest difference, the classes and, in half precision, the sets are those that running the file comes to."""
    model, places = files
    images = pictures(model, 40)
    ours = FORMATS["onnx"].reference(model, RATIO)(images)
    for precision in ("fp16", "int8"):
        output, *kept = answers(places[precision], images)
        found = held_against(FORMATS["onnx"], model, places[precision], RATIO, [images], precision)
        top1 = int((output.argmax(1) == ours.output.argmax(1).numpy()).sum())
        assert (found.precision, found.same_top1, found.images) == (precision, top1, 40)
        pairs = [(stage.kept_ids.numpy(), ids) for stage, ids in zip(ours.stages, kept, strict=True)]
        same = np.array([all(np.array_equal(a[row], b[row]) for a, b in pairs) for row in range(40)])
        off = np.abs(output - ours.output.detach().numpy()).max(1)
        if precision == "int8":
            assert found.same_kept is None and found.max_difference == pytest.approx(off.max(), rel=1e-5)
        else:
            assert found.same_kept == same.sum() and found.ties == 40 - same.sum() and found.different == 0
            assert found.max_difference == pytest.approx(off[same].max(), rel=1e-5)


def test_a_file_whose_answers_are_off_is_not_kept(files, tmp_path):
    """An encoder calibrated on black images: all others are clipped."""
    torch.manual_seed(1)
    model = model_of(rule=Rule())
    FORMATS["onnx"].write(model, RATIO, tmp_path / "plain.onnx")
    black = OnnxInt8(tmp_path / "plain.onnx", [torch.zeros_like(pictures(model, 4))], "black images")
    with pytest.raises(
        ValueError, match=r"least cosine similarity .* \(a cosine similarity of 0.98 at least\); nothing"
    ):
        export(model, "onnx", tmp_path / "a.onnx", RATIO, [pictures(model, 8)], form=black)
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
def test_a_small_vit_takes_half_and_a_quarter_of_the_bytes(tmp_path):
    config = EncoderConfig(model="vit_small_patch16_224", image_size=(224, 224), patch_size=16, channels=3)
    names = [str(index) for index in range(1000)]
    facts = PretrainedFacts(encoder=config, mean=[0.5] * 3, std=[0.25] * 3, classes=names, global_pool="token")
    model = build_model(facts).eval()
    size = {name: place.stat().st_size for name, place in written(model, tmp_path).items()}
    assert size["fp16"] <= 0.52 * size["fp32"] and size["int8"] <= 0.30 * size["fp32"]
