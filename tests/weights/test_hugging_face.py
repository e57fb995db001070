import json

import pytest
import torch
from transformers import (
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
)

from pcae.weights.files import fill, find, load, save_model
from tests.weights.tiny import assert_same_features, pixels, shaken

SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
DECODER = {
    "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
}  # fmt: skip


def saved(model, folder, **options):
    """The model, which lies in the folder too."""
    model = shaken(model).eval()
    model.save_pretrained(folder, **options)
    return model


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}], ids=["one file", "shards"])
def test_an_encoder_has_their_features(tmp_path, options):
    theirs = saved(ViTModel(ViTConfig(**SIZES)), tmp_path, **options)
    assert (tmp_path / "model.safetensors.index.json").exists() == bool(options)
    found = find(tmp_path)
    model, match = fill(found)
    with torch.no_grad():
        assert_same_features(model, theirs(model.normalise(pixels())).last_hidden_state)
    assert match.describe() == ["30 of 30 tensors matched, 100.0% of the encoder", "unexpected, left out: pooler: 2"]
    assert model.facts.classes is None and model.facts.mean == [0.5] * 3
    assert found.remarks == ("taken for granted: mean and std 0.5, as preprocessor_config.json names none",)


def test_small_activations_keep_their_epsilon_through_our_own_files(tmp_path):
    """1e-12 against timm's 1e-6 shows where tokens hardly vary."""
    theirs = ViTModel(ViTConfig(**SIZES)).eval()
    theirs.save_pretrained(tmp_path)
    model = load(tmp_path)
    save_model(tmp_path / "ours.safetensors", model.encoder.vit, model.facts)
    with torch.no_grad():
        expected = theirs(model.normalise(pixels())).last_hidden_state
    assert_same_features(model, expected)
    assert_same_features(load(tmp_path / "ours.safetensors"), expected)


def test_mae_has_their_features_where_nothing_is_hidden(tmp_path):
    theirs = saved(ViTMAEModel(ViTMAEConfig(**SIZES, mask_ratio=0.0)), tmp_path)
    model = load(tmp_path)
    in_order = torch.arange(16.0).expand(2, -1)
    with torch.no_grad():
        assert_same_features(model, theirs(model.normalise(pixels()), noise=in_order).last_hidden_state)


def test_maes_decoder_is_left_out_and_counted(tmp_path):
    theirs = saved(ViTMAEForPreTraining(ViTMAEConfig(**SIZES, **DECODER, mask_ratio=0.0)), tmp_path)
    model, match = fill(find(tmp_path))
    n_decoder = len(theirs.decoder.state_dict())
    assert match.describe()[1:] == [f"unexpected, left out: decoder: {n_decoder}"]
    in_order = torch.arange(16.0).expand(2, -1)
    with torch.no_grad():
        assert_same_features(model, theirs.vit(model.normalise(pixels()), noise=in_order).last_hidden_state)


def test_a_classifier_has_their_logits_and_class_names(tmp_path):
    theirs = saved(ViTForImageClassification(ViTConfig(**SIZES, id2label={0: "cat", 1: "dog", 2: "ray"})), tmp_path)
    ViTImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    found = find(tmp_path)
    model, _ = fill(found)
    assert found.remarks == () and found.source.endswith("Hugging Face's vit")
    assert (model.facts.classes, model.facts.global_pool) == (["cat", "dog", "ray"], "token")
    normalised = (pixels().float() / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor(
        [0.4, 0.5, 0.6]
    ).view(3, 1, 1)
    with torch.no_grad():
        expected = theirs(normalised).logits
        torch.testing.assert_close(model.classifier(0.0)(pixels()), expected, rtol=1e-5, atol=1e-5)


def test_rectangles_and_other_channels(tmp_path):
    sizes = SIZES | {"image_size": (32, 48), "num_channels": 1}
    theirs = saved(ViTModel(ViTConfig(**sizes), add_pooling_layer=False), tmp_path)
    model = load(tmp_path)
    assert model.encoder.grid == (4, 6)
    images = torch.randint(256, (2, 1, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        expected = theirs(model.normalise(images)).last_hidden_state[:, 1:]
        torch.testing.assert_close(model(images).tokens, expected, rtol=1e-5, atol=1e-5)
    assert load(tmp_path, image_size=(16, 24)).encoder.grid == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "swin"}, "a model of type 'swin'; only vit and vit_mae"),
        ({"model_type": None, "architecture": "vit"}, "a folder of timm's is timm:local-dir:"),
        ({"intermediate_size": 48}, "intermediate_size is 48; only 96 is read"),
        ({"hidden_act": "quick_gelu"}, "hidden_act is 'quick_gelu'; only 'gelu'"),
        ({"qkv_bias": False}, "qkv_bias is False; only True"),
        ({"patch_size": [8, 4]}, r"patch_size is \[8, 4\]; only square"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, but the weights have 2 blocks"),
        ({"hidden_size": None}, "holds no model that can be read"),
        ({"num_channels": None}, "channels"),
        ({"num_channels": "3"}, "channels|holds no model that can be read"),
        ({"layer_norm_eps": None}, "holds no model that can be read"),
        ({"layer_norm_eps": "x"}, "could not convert string to float"),
        ({"num_attention_heads": "two"}, "config.json: heads takes a whole number, got 'two'"),
    ],
)
def test_what_a_plain_vit_does_not_compute_is_refused_by_name(tmp_path, change, message):
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"image_mean": 0.5, "image_std": 0.5}, "holds no model that can be read"),
        ({"do_rescale": False}, "does not scale pixels to"),
        ({"rescale_factor": 1.0}, "does not scale pixels to"),
    ],
)
def test_preprocessing_of_another_kind_is_refused(tmp_path, said, message):
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/hostname", ["a"]])
def test_an_index_names_files_of_its_folder_only(tmp_path, name):
    saved(ViTModel(ViTConfig(**SIZES)), tmp_path / "inner")
    (tmp_path / "inner" / "model.safetensors").rename(tmp_path / "model.safetensors")
    (tmp_path / "inner" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ValueError, match="which is no file of the folder"):
        load(tmp_path / "inner")


def test_a_folder_without_its_parts_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match=r"no model.safetensors, its index, or pytorch_model.bin"):
        load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="has no weight_map"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        load(tmp_path)
