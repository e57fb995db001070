import itertools
import json
from dataclasses import asdict

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed
from onnxruntime.transformers.float16 import convert_float_to_float16

import pcae
from pcae.settings.trained import Rule
from pcae.weights.export.formats import FORMATS, export, held_against
from tests.weights.exported import model_of, pictures

KINDS = {
    "classifier on the class token, 30 %": ({"classes": ["a", "Öhrchen", "c"]}, 0.3),
    "encoder without class token, 1 channel": ({"model": "vit_base_patch16_gap_224", "channels": 1}, 0.0),
    "registers, average pooling, 20 %": (
        {"model": "vit_base_patch16_reg4_gap_256", "classes": ["a", "b"], "global_pool": "avg"},
        0.2,
    ),
    "average pooling of dropped tokens, too, 20 %": (
        {"classes": ["a", "b"], "global_pool": "avg", "rule": Rule(fold="pool")},
        0.2,
    ),
    "encoder whose features take dropped tokens in, 30 %": ({"rule": Rule(fold="pool")}, 0.3),
}
SOME_QUICK = [*[*KINDS][:1], *(pytest.param(kind, marks=pytest.mark.slow) for kind in [*KINDS][1:])]
"""One kind is exported whenever tests run, the others where all tests do."""
COUNTS = {0.0: [], 0.2: [19, 15, 12], 0.3: [16, 11, 7]}
"""Tokens that stay of 24, by ratio."""


def expected(model, drop_ratio, images):
    """Logits by `pcae.reduce`; features of an encoder as `pcae.embed` has them, or by hand with 8, 5 and 4 dropped."""
    vit, normalised, pooled = model.encoder.vit, model.normalise(images), model.facts.rule.fold == "pool"
    with torch.no_grad():
        if model.facts.classes is not None:
            return pcae.reduce(vit, drop_ratio, **vars(model.facts.rule))(normalised)
        if not pooled:
            return model(images).tokens.mean(1)
        found = pcae.reduce(vit, drop_ratio, fold="append").encode(normalised)
        weighted = vit.norm(found.appended) * torch.tensor([8, 5, 4])[:, None]
        return (vit.norm(found.tokens).sum(dim=1) + weighted.sum(dim=1)) / 24


@pytest.fixture(scope="module", params=SOME_QUICK)
def exported(request, tmp_path_factory):
    """A model, the ratio at which its tokens go, and the ONNX file of both."""
    options, ratio = KINDS[request.param]
    model, folder = model_of(**options), tmp_path_factory.mktemp("onnx")
    parity = export(model, "onnx", folder / "a.onnx", ratio, [pictures(model, 3)])
    assert parity.holds and parity.images == 3 and parity.tolerance == 1e-4
    assert {path.name for path in folder.iterdir()} == {"a.onnx"}
    return model, ratio, folder / "a.onnx"


def test_an_onnx_file_answers_as_pytorch_does_for_any_batch(exported):
    model, ratio, path = exported
    session = onnxruntime.InferenceSession(str(path))
    for batch in (1, 5):
        images = pictures(model, batch)
        output, *kept = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(output), expected(model, ratio, images), rtol=0, atol=1e-5)
        assert [ids.shape for ids in kept] == [(batch, count) for count in COUNTS[ratio]]
        for earlier, later in itertools.pairwise(kept):
            assert all(set(b) <= set(a) for a, b in zip(earlier.tolist(), later.tolist(), strict=True))
        assert all((np.diff(ids) > 0).all() for ids in kept)


def test_onnx_runtimes_quantisation_takes_a_file_and_the_check_holds_what_it_made(exported, tmp_path):
    """The differences are those that running both files here comes to, on one batch: int8 scales by all of it."""
    model, ratio, path = exported
    quant_pre_process(str(path), str(tmp_path / "b.onnx"))
    quantize_dynamic(str(tmp_path / "b.onnx"), str(tmp_path / "c.onnx"))
    form, images = FORMATS["onnx"], pictures(model, 6)
    said = {"drop_ratio": ratio, "rule": asdict(model.facts.rule), "precision": "fp32"}  # as the file it is of
    assert form.said(tmp_path / "c.onnx") == said
    found = held_against(form, model, tmp_path / "c.onnx", ratio, [images])
    output, *kept = onnxruntime.InferenceSession(str(tmp_path / "c.onnx")).run(None, {"images": images.numpy()})
    first = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    pairs = list(zip(kept, first[1:], strict=True))
    same = [all(np.array_equal(a[row], b[row]) for a, b in pairs) for row in range(6)]
    assert found.same_kept == sum(same) and found.images == 6
    if any(same):
        assert found.max_difference == pytest.approx(np.abs(output - first[0])[same].max(), rel=1e-2, abs=1e-5)
    top1 = int((output.argmax(1) == first[0].argmax(1)).sum())
    assert found.same_top1 == (top1 if model.facts.classes else None)
    assert not found.holds


@pytest.mark.parametrize("of_inputs_too", [False, True])
def test_a_file_in_half_precision_is_held_against_the_weights(exported, of_inputs_too, tmp_path):
    """Converted by ONNX Runtime. The difference is what running both files here comes to."""
    model, ratio, path = exported
    half = convert_float_to_float16(onnx.load(path), keep_io_types=not of_inputs_too)
    onnx.save(half, tmp_path / "half.onnx")
    images = pictures(model, 5)
    found = held_against(FORMATS["onnx"], model, tmp_path / "half.onnx", ratio, [images])
    output, *kept = onnxruntime.InferenceSession(str(tmp_path / "half.onnx")).run(None, {"images": images.numpy()})
    assert output.dtype == (np.float16 if of_inputs_too else np.float32)
    first = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    same = [all(np.array_equal(a[row], b[row]) for a, b in zip(kept, first[1:], strict=True)) for row in range(5)]
    assert found.same_kept == sum(same)
    if any(same):
        assert found.max_difference == pytest.approx(np.abs(output - first[0])[same].max(), abs=1e-5)
        assert 1e-5 < found.max_difference < 0.02


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_a_file_for_a_fixed_number_of_images_is_held_against_the_weights(exported, batch, tmp_path):
    model, ratio, path = exported
    fixed = onnx.load(path)
    make_dim_param_fixed(fixed.graph, "batch", batch)
    onnx.save(fixed, tmp_path / "fixed.onnx")
    batches = [pictures(model, 7), pictures(model, 3)]
    found = held_against(FORMATS["onnx"], model, tmp_path / "fixed.onnx", ratio, batches)
    assert found.holds and (found.images, found.same_kept + found.ties) == (10, 10)


class Plain(torch.nn.Module):
    """A classifier in plain timm, for normalised images, or pixels; with features behind the logits, or without."""

    def __init__(self, model, pixels: bool, features: bool) -> None:
        super().__init__()
        self.vit, self.normalise, self.features = model.encoder.vit, model.normalise, features
        self.pixels = pixels

    def forward(self, images):
        images = self.normalise(images) if self.pixels else images
        return (self.vit(images), self.vit.forward_features(images)) if self.features else self.vit(images)


@pytest.mark.parametrize("batch", [1, 5, "any"])
@pytest.mark.parametrize(("pixels", "features"), [(False, False), (True, True), (False, True)])
@pytest.mark.filterwarnings("ignore")
def test_programs_of_others_are_held_against_the_weights(pixels, features, batch, tmp_path):
    model = model_of(classes=["a", "b"])
    example = torch.zeros(2 if batch == "any" else batch, 3, 32, 48, dtype=torch.uint8 if pixels else torch.float32)
    free = {"images": {0: torch.export.Dim("batch")}} if batch == "any" else None
    program = torch.export.export(Plain(model, pixels, features).eval(), (example,), dynamic_shapes=free)
    torch.export.save(program, tmp_path / "a.pt2")
    found = held_against(FORMATS["torch-export"], model, tmp_path / "a.pt2", 0.0, [pictures(model, 7)])
    assert found.holds and found.images == 7


@pytest.mark.parametrize("to", ["onnx", "torch-export", "timm", "safetensors"])
def test_a_file_for_images_of_another_size_is_refused_with_a_remedy_that_works(to, tmp_path):
    model, other = (model_of(classes=["a", "b"], image_size=size) for size in ((32, 32), (48, 48)))
    place = tmp_path / f"a{FORMATS[to].suffix or ''}"
    export(model, to, place, 0.0, [pictures(model, 3)])
    with pytest.raises(ValueError, match="--image-size (32 32|H W)"):
        held_against(FORMATS[to], other, place, 0.0, [pictures(other, 3)])
    assert held_against(FORMATS[to], model, place, 0.0, [pictures(model, 3)]).holds


def test_files_that_cannot_be_held_against_the_weights_are_refused_by_name(exported, tmp_path):
    model, ratio, path = exported
    form, damaged = FORMATS["onnx"], onnx.load(path)
    for value, reason in (("x", "has metadata that are no JSON"), ('"0.3"', "says that drop_ratio is '0.3'")):
        for said in damaged.metadata_props:
            said.value = value if said.key == "drop_ratio" else said.value
        onnx.save(damaged, tmp_path / "a.onnx")
        with pytest.raises(ValueError, match=f"a.onnx {reason}.*; export it again"):
            form.said(tmp_path / "a.onnx")
    damaged.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
    onnx.save(damaged, tmp_path / "b.onnx")
    with pytest.raises(ValueError, match="b.onnx takes 2 inputs, not images alone"):
        held_against(form, model, tmp_path / "b.onnx", ratio, [pictures(model, 3)])
    damaged.graph.input.pop()
    damaged.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 9
    onnx.save(damaged, tmp_path / "c.onnx")
    with pytest.raises(
        ValueError, match=r"images of \[9, 32, 48\].*of another model, or wants other axes|cannot be run"
    ):
        held_against(form, model, tmp_path / "c.onnx", ratio, [pictures(model, 3)])
    (tmp_path / "d.pt2").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="d.pt2 holds no exported program: it is no archive"):
        FORMATS["torch-export"].said(tmp_path / "d.pt2")


def test_an_onnx_file_says_what_it_is(exported):
    model, ratio, path = exported
    facts, session = model.facts, onnxruntime.InferenceSession(str(path))
    (images,) = session.get_inputs()
    channels = facts.encoder.channels
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["batch", channels, 32, 48])
    outputs = {output.name: (output.type, output.shape) for output in session.get_outputs()}
    answer = {"logits": len(facts.classes)} if facts.classes else {"features": 24}
    assert outputs == {name: ("tensor(float)", ["batch", width]) for name, width in answer.items()} | {
        f"kept_ids_{block}": ("tensor(int64)", ["batch", count]) for block, count in enumerate(COUNTS[ratio])
    }
    said = session.get_modelmeta().custom_metadata_map
    assert said["pcae"] == "0.1.0"
    assert {name: json.loads(said[name]) for name in ("classes", "image_size", "drop_ratio", "mean", "std")} == {
        "classes": facts.classes, "image_size": [32, 48], "drop_ratio": ratio, "mean": [0.4] * channels,
        "std": [0.2] * channels,
    }  # fmt: skip
    content = path.read_bytes()
    assert b"site-packages" not in content and b"deployed.py" not in content  # no lines of the exporting machine
    dynamic = {"ReduceL2", "NonZero", "Loop", "If", "Compress", "Unique", "ScatterND", "Sort", "Range"}
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert not dynamic & set(operators)
    assert operators.count("TopK") == 2 * len(COUNTS[ratio])  # which tokens stay, and their order


@pytest.mark.parametrize("kind", SOME_QUICK)
def test_an_exported_program_answers_as_pytorch_does_for_any_batch(kind, tmp_path):
    options, ratio = KINDS[kind]
    model, path = model_of(**options), tmp_path / "a.pt2"
    assert export(model, "torch-export", path, ratio, [pictures(model, 3)]).holds
    program = torch.export.load(path).module()
    for batch in (1, 5):
        images = pictures(model, batch)
        output, *kept = program(images)
        torch.testing.assert_close(output, expected(model, ratio, images), rtol=0, atol=1e-5)
        assert len(kept) == len(COUNTS[ratio])
    there = torch.export.load(path).module().to("meta")(pictures(model, 4).to("meta"))
    assert {output.device.type for output in there} == {"meta"} and there[0].shape[0] == 4
    assert not any("device" in node.kwargs for node in torch.export.load(path).graph.nodes)


@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_a_ratio_that_leaves_no_tokens_is_refused_and_nothing_is_printed(to, tmp_path, capfd):
    with pytest.raises(ValueError, match="leaves none"):
        export(model_of(), to, tmp_path / "a", 0.9, [])
    assert capfd.readouterr() == ("", "") and not [*tmp_path.iterdir()]


def test_more_weights_than_an_onnx_file_holds_are_refused(tmp_path, monkeypatch):
    model = model_of()
    monkeypatch.setattr("pcae.weights.export.onnx_files.LARGEST", 1000)
    with pytest.raises(ValueError, match=r"holds at most 2 GiB.*--to torch-export"):
        FORMATS["onnx"].write(model, 0.0, tmp_path / "a.onnx")
