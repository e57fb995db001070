import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from transformers import ViTForImageClassification, ViTImageProcessor, ViTModel

from pcae.weights.export.formats import export
from pcae.weights.export.place import check_folder, folder_in_one_move
from pcae.weights.files import load
from tests.weights.exported import model_of, pictures

CLASSES = ["red fox", "Öhrchen", "3"]
TIMM = {
    "classifier on the class token": {"classes": CLASSES},
    "classifier, average pooling with its own norm": {"classes": CLASSES, "global_pool": "avg"},
    "encoder, 1 channel": {"channels": 1},
    "no class token, average pooling": {
        "model": "vit_base_patch16_gap_224", "classes": CLASSES, "global_pool": "avg", "channels": 1,
    },
    "registers, encoder": {"model": "vit_base_patch14_reg4_dinov2"},
    "a name with a tag": {"model": "vit_tiny_patch16_224.augreg_in21k", "classes": CLASSES, "crop_pct": 0.9},
}  # fmt: skip


@pytest.mark.parametrize("kind", TIMM)
def test_a_timm_folder_loads_into_plain_timm_with_all_that_it_is(kind, tmp_path):
    model = model_of(**TIMM[kind])
    assert export(model, "timm", tmp_path / "a", 0.0, [pictures(model, 3)]).tolerance == 1e-5
    plain = timm.create_model(f"local-dir:{tmp_path / 'a'}").eval()
    plain.load_state_dict(load_file(tmp_path / "a" / "model.safetensors"), strict=True)
    facts, images = model.facts, pictures(model, 2)
    with torch.no_grad():
        pixels = model.normalise(images)
        assert torch.equal(plain(pixels), model.encoder.vit(pixels))
    data = timm.data.resolve_model_data_config(plain)
    assert data["input_size"] == (facts.encoder.channels, 32, 48) and data["crop_pct"] == facts.crop_pct
    assert list(data["mean"]) == facts.mean and list(data["std"]) == facts.std
    assert plain.pretrained_cfg.get("label_names") == facts.classes
    again = load(f"timm:local-dir:{tmp_path / 'a'}")
    assert (again.facts.classes, again.facts.global_pool) == (facts.classes, facts.global_pool)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [None, CLASSES])
def test_a_hugging_face_folder_loads_into_transformers(channels, classes, tmp_path):
    model = model_of(channels=channels, classes=classes, norm_eps=1e-5)
    parity = export(model, "hf", tmp_path / "a", 0.0, [pictures(model, 3)])
    assert parity.holds and parity.tolerance == 1e-5
    theirs = (
        ViTModel.from_pretrained(tmp_path / "a", add_pooling_layer=False)
        if classes is None
        else ViTForImageClassification.from_pretrained(tmp_path / "a")
    )
    images = pictures(model, 2)
    inputs = ViTImageProcessor.from_pretrained(tmp_path / "a")(
        images, input_data_format="channels_first", return_tensors="pt"
    )
    with torch.no_grad():
        output, pixels = theirs(**inputs), model.normalise(images)
        if classes is None:
            found, expected = output.last_hidden_state, model.encoder.vit.forward_features(pixels)
        else:
            found, expected = output.logits, model.encoder.vit(pixels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert list(theirs.config.image_size) == [32, 48] and theirs.config.layer_norm_eps == 1e-5
    if classes:
        assert theirs.config.id2label == dict(enumerate(classes))
    names = load_file(tmp_path / "a" / "model.safetensors").keys()
    assert f"{'vit.' if classes else ''}encoder.layer.2.attention.attention.query.weight" in names
    again = load(tmp_path / "a")
    assert (again.facts.classes, again.facts.mean, again.facts.norm_eps) == (classes, model.facts.mean, 1e-5)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"classes": CLASSES, "global_pool": "avg"}, "average pooling with its own norm"),
        ({"model": "vit_base_patch14_reg4_dinov2"}, "register tokens, layer scale"),
        ({"model": "vit_base_patch16_gap_224"}, "a model without class token"),
        ({"model": "vit_base_patch16_clip_224"}, "a norm before the blocks"),
        ({"model": "vit_base_patch16_clip_quickgelu_224"}, "another activation than GELU"),
        ({"model": "deit3_base_patch16_224"}, "layer scale, positions of patches alone"),
        ({"model": "vit_base_patch16_siglip_224", "classes": CLASSES, "global_pool": "map"}, "attention pooling"),
    ],
)
def test_what_transformers_cannot_hold_is_refused_by_name_with_the_remedy(options, what, tmp_path):
    with pytest.raises(ValueError, match=rf"cannot hold .*{what}.*; use --to timm, onnx or safetensors"):
        export(model_of(**options), "hf", tmp_path / "a", 0.0, [])
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", ["classifier on the class token", "encoder, 1 channel"])
def test_our_own_file_comes_back_as_it_was(kind, tmp_path):
    model = model_of(**TIMM[kind], drop_ratios=(0.0, 0.4))
    assert export(model, "safetensors", tmp_path / "a.safetensors", 0.0, [pictures(model, 3)]).max_difference == 0
    assert load(tmp_path / "a.safetensors").facts == model.facts
    plain = timm.create_model(
        "vit_tiny_patch16_224", img_size=(32, 48), patch_size=8, in_chans=model.facts.encoder.channels, embed_dim=24,
        depth=3, num_heads=2, num_classes=len(model.facts.classes or []),
    )  # fmt: skip
    plain.load_state_dict(load_file(tmp_path / "a.safetensors"), strict=True)


def test_timm_says_that_it_has_another_epsilon():
    from pcae.weights.export.formats import FORMATS

    (said,) = FORMATS["timm"].remarks(model_of(norm_eps=1e-12))
    assert said == "timm computes the norms with epsilon 1e-06, the weights are for 1e-12"
    assert FORMATS["timm"].remarks(model_of(norm_eps=1e-6)) == []


def test_a_folder_takes_its_place_whole_or_not_at_all(tmp_path):
    place = tmp_path / "a"
    (tmp_path / ".a.writing").mkdir()
    (tmp_path / ".a.writing" / "stale").touch()
    place.mkdir()
    with pytest.raises(KeyError), folder_in_one_move(place) as beside:
        (beside / "half").touch()
        raise KeyError
    assert [*tmp_path.rglob("*")] == [place]
    with folder_in_one_move(place) as beside:
        (beside / "whole").touch()
        assert not [*place.iterdir()]
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "whole"}
    with pytest.raises(ValueError, match="not empty"):
        check_folder(place)


@pytest.mark.parametrize(("name", "message"), [("file", "is a file; give a folder"), ("gone/a", "cannot be written")])
def test_a_place_for_no_folder_is_refused(name, message, tmp_path):
    (tmp_path / "file").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=message):
        check_folder(tmp_path / name)
    with pytest.raises(ValueError, match="give the name of a new one"):
        check_folder(Path())
