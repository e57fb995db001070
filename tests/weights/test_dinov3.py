"""DINOv3 from transformers' folders and from Meta's files has the features that transformers and timm compute."""

import json

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

import pcae
from pcae.weights.files import fill, find, load
from tests.weights.tiny import shaken

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
SIZES |= {"intermediate_size": 96, "num_register_tokens": 4}
GATED = {"use_gated_mlp": True, "hidden_act": "silu"}
SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 0}
KINDS = {
    "usual": ({}, "vit_base_patch16_dinov3_qkvb"),
    "gated": (GATED, "vit_small_plus_patch16_dinov3_qkvb"),
    "gated, half as wide": (GATED | {"intermediate_size": 48}, "vit_small_plus_patch16_dinov3_qkvb:mlp_ratio=2.0"),
    "no biases": ({"query_bias": False, "value_bias": False}, "vit_base_patch16_dinov3"),
    "no bias of queries": ({"query_bias": False, "mlp_bias": False}, "vit_base_patch16_dinov3_qkvb"),
    "no bias after attention": ({"proj_bias": False}, "vit_base_patch16_dinov3_qkvb"),
    "another epsilon": ({"layer_norm_eps": 1e-2}, "vit_base_patch16_dinov3_qkvb"),
    "small": (
        {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
        "vit_small_patch16_dinov3_qkvb",
    ),
    "rectangles": ({"image_size": [32, 48], "num_channels": 1}, "vit_base_patch16_dinov3_qkvb"),
}


def folder(path, **options) -> nn.Module:
    """A model of transformers' in which every part counts; it lies in the folder, too."""
    theirs = shaken(transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**SIZES | options))).eval()
    theirs.save_pretrained(path)
    return theirs


def assert_same(model, theirs: nn.Module) -> None:
    """All tokens after the last norm are those of `theirs`, transformers' or timm's, in float64 to 2e-6."""
    encoder = model.facts.encoder
    images = torch.randint(256, (2, encoder.channels, *encoder.image_size), dtype=torch.uint8)
    forward = getattr(theirs.double(), "forward_features", theirs)
    with torch.no_grad():
        normalised = model.normalise(images).double()
        encoded, expected = model.encoder.double()(normalised), forward(normalised)
    expected = getattr(expected, "last_hidden_state", expected)
    torch.testing.assert_close(torch.cat([encoded.prefix, encoded.tokens], 1), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_has_transformers_features(kind, tmp_path):
    options, name = KINDS[kind]
    theirs = folder(tmp_path, **options)
    model, match = fill(find(tmp_path))
    assert model.facts.encoder.model == name and model.encoder.has_class_token
    assert match.share == 1 and not match.missing and match.unexpected == ("mask_token",)
    assert_same(model, theirs)


def test_a_folder_is_read_by_the_names_of_the_models_own_tensors_too(tmp_path):
    theirs = folder(tmp_path)
    tensors = {name: value.contiguous() for name, value in theirs.state_dict().items()}
    assert "model.layer.0.norm1.weight" in tensors
    save_file(tensors, tmp_path / "model.safetensors")
    assert_same(load(tmp_path), theirs)


def test_rotary_positions_are_made_for_any_size(tmp_path):
    theirs = folder(tmp_path)
    assert_same(load(tmp_path, image_size=(24, 56)), theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_theta": 1e4}, "rope_theta is 10000.0; timm's DINOv3 has 100"),
        ({"num_register_tokens": 2}, "num_register_tokens is 2; timm's DINOv3 has 4"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'; timm's DINOv3 has gelu"),
        ({"use_gated_mlp": True}, "hidden_act is 'gelu'; timm's DINOv3 has silu"),
        ({"num_attention_heads": 8}, "8 heads of 3 features, which must be a multiple of 4"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, but the weights have 2 blocks"),
        ({"intermediate_size": 48}, "intermediate_size is 48, but the weights are for 96"),
    ],
)
def test_settings_that_timm_does_not_compute_are_refused_by_value(change, message, tmp_path):
    folder(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(said | change))
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key_bias": True}, "has biases of keys"),
        (GATED | {"intermediate_size": 44}, "gated MLPs of 44 features, timm's are multiples of 8"),
    ],
)
def test_tensors_that_timm_does_not_have_are_refused(options, message, tmp_path):
    folder(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def timms(name: str, **options) -> nn.Module:
    """timm's model at a tiny size, in which every part counts."""
    return shaken(timm.create_model(name, **TINY | options)).eval()


METAS = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
GATES = {"fc1_g": "w1", "fc1_x": "w2", "fc2": "w3"}


def metas(vit: nn.Module) -> dict[str, torch.Tensor]:
    """timm's tensors as Meta's code saves them: one bias with a mask, periods in bfloat16, names of its own."""
    found = dict(vit.state_dict())
    for ours, theirs in (METAS | (GATES if "blocks.0.mlp.fc1_g.weight" in found else {})).items():
        found = {name.replace(ours, theirs): value for name, value in found.items()}
    for start in [name.removesuffix("q_bias") for name in found if name.endswith("q_bias")]:
        query, value = found.pop(f"{start}q_bias"), found.pop(f"{start}v_bias")
        zero = torch.zeros_like(query)
        found[f"{start}qkv.bias"] = torch.cat([query, zero + 7, value])  # what the mask takes away
        found[f"{start}qkv.bias_mask"] = torch.cat([zero + 1, zero, zero + 1])
    periods = (100 ** (torch.arange(16) / 16)).bfloat16()
    return found | {"rope_embed.periods": periods, "mask_token": torch.zeros(1, 128)}


NAMES = [
    "vit_base_patch16_dinov3",
    "vit_base_patch16_dinov3_qkvb",
    "vit_small_plus_patch16_dinov3",
    "vit_small_plus_patch16_dinov3_qkvb",
]


@pytest.mark.parametrize("start", ["", "teacher.backbone."])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_metas_has_timms_features(name, start, tmp_path):
    vit = timms(name)
    torch.save({start + name: value for name, value in metas(vit).items()}, tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    assert found.facts.encoder.model == name and found.facts.encoder.heads == 2
    assert "2 heads, by the rotary periods" in found.remarks[0] and "images of 112 x 112" in found.remarks[1]
    model, match = fill(found, image_size=(32, 32))
    assert match.share == 1 and not match.missing and match.unexpected == ("mask_token",)
    assert_same(model, vit)


@pytest.mark.parametrize("name", NAMES[1:3])
def test_timms_own_reader_of_metas_files_agrees(name, tmp_path):
    tensors = metas(timms(name))
    save_file(tensors, tmp_path / "a.safetensors")
    vit = timm.create_model(name, **TINY).eval()
    vit.load_state_dict(timm.models.eva.checkpoint_filter_fn(tensors, vit))
    assert_same(load(tmp_path / "a.safetensors", image_size=32), vit)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_embed.periods": None}, "has lost rope_embed.periods, by which heads are known"),
        ({"rope_embed.periods": torch.linspace(1, 9, 16)}, "other rotary periods"),
        ({"rope_embed.periods": 100 ** (torch.arange(24) / 24)}, "other rotary periods"),
        ({"storage_tokens": torch.zeros(1, 2, 128)}, "has 2 register tokens; timm's DINOv3 has 4"),
        ({"storage_tokens": None}, "has 0 register tokens; timm's DINOv3 has 4"),
        ({"blocks.0.attn.qkv.bias_mask": None}, "has biases of keys"),
        ({"blocks.1.attn.qkv.bias_mask": torch.full((384,), torch.nan)}, "has biases of keys"),
        ({"cls_norm.weight": torch.ones(128)}, "no place for cls_norm.weight"),
        ({"blocks.1.ls1.gamma": None}, "the weights lack blocks.1.gamma_1"),
    ],
)
def test_other_files_in_metas_names_are_refused_in_one_line(change, message, tmp_path):
    tensors = metas(timms("vit_base_patch16_dinov3_qkvb")) | change
    torch.save({name: value for name, value in tensors.items() if value is not None}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_the_norm_of_local_crops_takes_no_part(tmp_path):
    """DINOv3 7B has it beside the one that features pass."""
    vit = timms("vit_base_patch16_dinov3")
    torch.save(metas(vit) | {"local_cls_norm.weight": torch.ones(128)}, tmp_path / "a.pth")
    assert_same(load(tmp_path / "a.pth", image_size=32), vit)


def test_a_classifier_in_a_file_of_metas_is_left_out_by_name(tmp_path):
    vit = timms("vit_base_patch16_dinov3")
    torch.save(metas(vit) | {"head.weight": torch.ones(3, 128), "head.bias": torch.ones(3)}, tmp_path / "a.pth")
    model, match = fill(find(tmp_path / "a.pth"), image_size=(32, 32))
    assert model.facts.classes is None and "head_cls: 2" in match.describe()[-1]
    assert_same(model, vit)


def test_reading_and_saving_again_keeps_the_features(tmp_path):

    theirs = folder(tmp_path / "theirs", **GATED)
    pcae.save(load(tmp_path / "theirs"), tmp_path / "ours.safetensors")
    assert_same(load(tmp_path / "ours.safetensors"), theirs)
