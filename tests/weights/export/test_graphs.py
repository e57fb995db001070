import itertools
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import pcae
from pcae.weights.export.formats import FORMATS, export
from tests.weights.exported import model_of, pictures

KINDS = {
    "classifier on the class token, 30 %": ({"classes": ["a", "Öhrchen", "c"]}, 0.3),
    "encoder without class token, 1 channel": ({"model": "vit_base_patch16_gap_224", "channels": 1}, 0.0),
    "registers, average pooling, 20 %": (
        {"model": "vit_base_patch16_reg4_gap_256", "classes": ["a", "b"], "global_pool": "avg"},
        0.2,
    ),
    "average pooling of dropped tokens, too, 20 %": (
        {"classes": ["a", "b"], "global_pool": "avg", "pool_dropped": True},
        0.2,
    ),
    "encoder whose features take dropped tokens in, 30 %": ({"pool_dropped": True}, 0.3),
}
SOME_QUICK = [*[*KINDS][:1], *(pytest.param(kind, marks=pytest.mark.slow) for kind in [*KINDS][1:])]
"""One kind is exported whenever tests run, the others where all tests do."""
COUNTS = {0.0: [], 0.2: [19, 15, 12], 0.3: [16, 11, 7]}
"""Tokens that stay of 24, by ratio."""


def expected(model, drop_ratio, images):
    """Logits by `pcae.reduce`; features of an encoder as `pcae.embed` has them, or by hand with 8, 5 and 4 dropped."""
    vit, normalised, pooled = model.encoder.vit, model.normalise(images), model.facts.pool_dropped
    with torch.no_grad():
        if model.facts.classes is not None:
            return pcae.reduce(vit, drop_ratio, pool_dropped=pooled)(normalised)
        if not pooled:
            return model(images).tokens.mean(1)
        found = pcae.reduce(vit, drop_ratio).encode(normalised)
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
    dynamic = {"NonZero", "Loop", "If", "Compress", "Unique", "Where", "ScatterND", "Sort", "Range"}
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


@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_a_ratio_that_leaves_no_tokens_is_refused_and_nothing_is_printed(to, tmp_path, capfd):
    with pytest.raises(ValueError, match="leaves none"):
        export(model_of(), to, tmp_path / "a", 0.9, [])
    assert capfd.readouterr() == ("", "") and not [*tmp_path.iterdir()]


def test_more_weights_than_an_onnx_file_holds_are_refused(tmp_path, monkeypatch):
    model = model_of()
    monkeypatch.setattr("pcae.weights.export.graphs.LARGEST", 1000)
    with pytest.raises(ValueError, match=r"holds at most 2 GiB.*--to torch-export"):
        FORMATS["onnx"].write(model, 0.0, tmp_path / "a.onnx")
