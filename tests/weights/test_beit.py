"""BEiT from transformers' folders and from its authors' files has the features that transformers and timm compute."""

import json

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

import pcae
from pcae.weights.files import fill, find, load
from tests.weights.tiny import pixels, shaken

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
SIZES |= {"intermediate_size": 96}
BY_BLOCK, SHARED = {"use_relative_position_bias": True}, {"use_shared_relative_position_bias": True}
TOKEN = {"use_mean_pooling": False}
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 4}
KINDS = {
    "by block": ("Model", BY_BLOCK),
    "shared": ("Model", SHARED),
    "both": ("Model", BY_BLOCK | SHARED),
    "a last norm": ("Model", BY_BLOCK | TOKEN),
    "no layer scale": ("Model", BY_BLOCK | {"layer_scale_init_value": 0.0}),
    "another ratio and epsilon": ("Model", BY_BLOCK | {"intermediate_size": 60, "layer_norm_eps": 1e-2}),
    "classifier": ("ForImageClassification", BY_BLOCK | {"num_labels": 3}),
    "classifier, shared": ("ForImageClassification", SHARED | {"num_labels": 3}),
    "classifier on the class token": ("ForImageClassification", BY_BLOCK | TOKEN | {"num_labels": 3}),
    "masked images": ("ForMaskedImageModeling", SHARED | {"use_mask_token": True, "vocab_size": 5}),
    "masked images, two norms": ("ForMaskedImageModeling", SHARED | TOKEN | {"vocab_size": 5}),
}


def folder(path, kind: str) -> nn.Module:
    """A model of transformers' in which every part counts; it lies in the folder, too."""
    model, options = KINDS[kind]
    theirs = getattr(transformers, f"Beit{model}")(transformers.BeitConfig(**SIZES | options))
    theirs = shaken(theirs).eval()
    theirs.save_pretrained(path)
    return theirs


def features(theirs: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """All tokens after the encoder's last norm; of a model of masked images that has none, after the one behind it."""
    found = getattr(theirs, "beit", theirs)(images).last_hidden_state
    behind = hasattr(theirs, "lm_head") and theirs.config.use_mean_pooling
    return theirs.layernorm(found) if behind else found


def assert_same(model, theirs: nn.Module, expected=features) -> None:
    """All tokens are those that `expected` gives by `theirs` for the same images, in float64 to 2e-6."""
    images = model.normalise(pixels(model.facts.encoder.image_size[0])).double()
    with torch.no_grad():
        encoded, found = model.encoder.double()(images), expected(theirs.double(), images)
    theirs.float(), model.float()
    torch.testing.assert_close(torch.cat([encoded.prefix, encoded.tokens], 1), found, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_has_transformers_features(kind, newest, tmp_path):
    theirs = folder(tmp_path, kind)
    if newest:
        tensors = {name: value.clone() for name, value in theirs.state_dict().items()}
        save_file(tensors, tmp_path / "model.safetensors")
    model, match = fill(find(tmp_path))
    assert match.share == 1 and not match.missing
    assert_same(model, theirs)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "classifier" in kind])
def test_a_classifier_has_transformers_logits(kind, tmp_path):
    theirs = folder(tmp_path, kind)
    model = load(tmp_path)
    with torch.no_grad():
        expected = theirs(model.normalise(pixels())).logits
        torch.testing.assert_close(model.classifier(0.0)(pixels()), expected, rtol=1e-5, atol=1e-5)


def test_older_folders_hold_indices_that_are_computed(tmp_path):
    theirs = folder(tmp_path, "by block")
    tensors = {name: value.clone() for name, value in theirs.state_dict().items()}
    tensors |= {
        "encoder.layer.0.attention.attention.relative_position_bias.relative_position_index": torch.zeros(17, 17)
    }
    save_file(tensors, tmp_path / "model.safetensors")
    assert_same(load(tmp_path), theirs)


def test_saving_again_keeps_the_features(tmp_path):
    theirs = folder(tmp_path / "theirs", "no layer scale")
    pcae.save(load(tmp_path / "theirs"), tmp_path / "ours.safetensors")
    assert_same(load(tmp_path / "ours.safetensors"), theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; timm's Beit has gelu"),
        ({"use_absolute_position_embeddings": True}, "use_absolute_position_embeddings is true"),
        ({"use_relative_position_bias": False}, "use_relative_position_bias is false"),
        ({"num_attention_heads": 3}, "num_attention_heads is 3, but the weights are for 2"),
        ({"image_size": [32, 48]}, r"image_size is \[32, 48\]; transformers distorts"),
        ({"image_size": 64}, "52 rows, which are not those of a grid of 8 x 8"),
        ({"hidden_size": 48}, "hidden_size is 48, but the weights are for 24"),
    ],
)
def test_settings_that_timm_does_not_compute_are_refused_by_value(change, message, tmp_path):
    folder(tmp_path, "by block")
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(said | change))
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_model_without_either_norm_is_refused(tmp_path):
    theirs = transformers.BeitModel(transformers.BeitConfig(**SIZES | BY_BLOCK), add_pooling_layer=False)
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"the weights lack norm.weight, norm.bias"):
        load(tmp_path)


def timms(name: str = "beit_base_patch16_224", **options) -> nn.Module:
    """timm's model at a tiny size, in which every part counts."""
    return shaken(timm.create_model(name, **TINY | options)).eval()


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 3},
        {"num_classes": 0},
        {"num_classes": 3, "global_pool": "token"},
        {"num_classes": 0, "global_pool": ""},
        {"num_classes": 3, "init_values": 0, "mlp_ratio": 2.5},
        {"num_classes": 3, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
        {"num_classes": 3, "qkv_bias": False, "use_shared_rel_pos_bias": True},
    ],
    ids=str,
)
def test_a_file_has_timms_features_and_logits(options, tmp_path):
    vit = timms(**options)
    index = {"blocks.0.attn.relative_position_index": torch.zeros(17, 17)}
    torch.save({"model": vit.state_dict() | index}, tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    assert (found.facts.encoder.image_size, found.facts.encoder.heads) == ((32, 32), 4)
    assert "4 heads, by the position bias" in found.remarks[0]
    assert "activation GELU, mean and std of ImageNet, images of 32 x 32" in found.remarks[1]
    model, match = fill(found)
    assert match.share == 1 and not match.missing and not match.unexpected
    assert_same(model, vit, type(vit).forward_features)
    if options["num_classes"]:
        with torch.no_grad():
            expected = vit(model.normalise(pixels()))
            torch.testing.assert_close(model.classifier(0.0)(pixels()), expected, rtol=1e-5, atol=1e-5)


def test_a_file_of_masked_pretraining_leaves_its_head_out(tmp_path):
    """As BEiT's authors save it: a shared table, a norm behind the blocks, a mask token and `lm_head`."""
    vit = timms(num_classes=0, global_pool="", use_rel_pos_bias=False, use_shared_rel_pos_bias=True)
    beside = {"lm_head.weight": torch.ones(5, 128), "mask_token": torch.ones(1, 1, 128)}
    torch.save({"model": vit.state_dict() | beside}, tmp_path / "a.pth")
    model, match = fill(find(tmp_path / "a.pth"))
    assert match.unexpected == ("lm_head.weight", "mask_token")
    assert_same(model, vit, type(vit).forward_features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_embed": torch.zeros(1, 17, 128)}, "has pos_embed beside relative position bias"),
        ({"blocks.0.attn.relative_position_bias_table": torch.zeros(40, 4)}, "40 rows, which are those of no square"),
        ({"blocks.0.attn.q_norm.weight": torch.ones(32)}, "no place for blocks.0.attn.q_norm.weight"),
        ({"blocks.1.attn.relative_position_bias_table": None}, "lack blocks.1.attn.relative_position_bias_table"),
        ({"cls_token": None}, "has relative position bias .*; give the same network as timm:NAME"),
    ],
)
def test_other_files_with_position_bias_are_refused_in_one_line(change, message, tmp_path):
    tensors = timms(num_classes=0).state_dict() | change
    torch.save({name: value for name, value in tensors.items() if value is not None}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
