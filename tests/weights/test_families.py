"""Every network of transformers' that is read has the features that transformers computes, on random weights."""

import json

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from pcae.weights.families import FAMILIES
from pcae.weights.files import fill, find, load
from tests.weights.tiny import pixels, shaken, tiny_vit

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
MLP = {"intermediate_size": 96}
PATCHES = {"num_patches": 16, **{name: size for name, size in SIZES.items() if name != "image_size"}}
TEXT = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 9}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2}
LAST = {"layer_norm_eps": 1e-3}
"""An epsilon that shows where it is not taken over."""


def both_towers(name: str, **vision) -> nn.Module:
    """A model of images and texts."""
    config = getattr(transformers, f"{name}Config")(vision_config=SIZES | vision, text_config=TEXT)
    return getattr(transformers, f"{name}Model")(config)


def of(name: str, model: str = "Model", **options) -> nn.Module:
    """A model of transformers' by the beginning of its classes' names."""
    return getattr(transformers, f"{name}{model}")(getattr(transformers, f"{name}Config")(**options))


MODELS = {
    "vit": lambda: of("ViT", **SIZES, **MLP, **LAST),
    "vit without biases": lambda: of("ViT", **SIZES, **MLP, qkv_bias=False),
    "vit, mlp ratio 2.5, tanh": lambda: of("ViT", **SIZES, intermediate_size=60, hidden_act="gelu_pytorch_tanh"),
    "vit classifier": lambda: of("ViT", "ForImageClassification", **SIZES, **MLP),
    "vit for masked images": lambda: of("ViT", "ForMaskedImageModeling", **SIZES, **MLP, encoder_stride=8),
    "msn": lambda: of("ViTMSN", **SIZES, **MLP),
    "ijepa": lambda: of("IJepa", **SIZES, **MLP),
    "deit": lambda: of("DeiT", **SIZES, **MLP, **LAST),
    "deit classifier": lambda: of("DeiT", "ForImageClassification", **SIZES, **MLP),
    "deit classifier of two tokens": lambda: of("DeiT", "ForImageClassificationWithTeacher", **SIZES, **MLP),
    "dinov2": lambda: of("Dinov2", **SIZES, **LAST),
    "dinov2 classifier": lambda: of("Dinov2", "ForImageClassification", **SIZES),
    "dinov2 with registers": lambda: of("Dinov2WithRegisters", **SIZES, num_register_tokens=3),
    "siglip": lambda: of("SiglipVision", **SIZES, **MLP, **LAST),
    "siglip, both towers": lambda: both_towers("Siglip", **MLP),
    "siglip2": lambda: of("Siglip2Vision", **PATCHES, **MLP),
    "clip": lambda: of("CLIPVision", **SIZES, **MLP, **LAST),
    "clip, both towers": lambda: both_towers("CLIP", **MLP),
    "clip with projection": lambda: of("CLIPVision", "ModelWithProjection", **SIZES, **MLP, projection_dim=8),
}
NAMES_5 = ["vit", "vit classifier", "deit", "dinov2 with registers", "siglip", "clip"]
"""Those that are read as transformers 5 calls their tensors, too."""


def encoder_of(theirs: nn.Module) -> nn.Module:
    """The image side of a model."""
    inner = (getattr(theirs, name, None) for name in ("vision_model", theirs.base_model_prefix))
    return next((part for part in inner if part is not None), theirs)


def features(theirs: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """All tokens after the last norm, which CLIP gives to the class token alone."""
    encoder = encoder_of(theirs)
    if "Siglip2" in type(theirs).__name__:  # a patch's values in the order row, column, channel
        patches = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        shapes = torch.tensor([[4, 4]] * len(images))
        mask = torch.ones(patches.shape[:2], dtype=torch.long)
        return encoder(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes).last_hidden_state
    found = encoder(pixel_values=images).last_hidden_state
    return encoder.post_layernorm(found) if "CLIP" in type(theirs).__name__ else found


def write(theirs: nn.Module, folder, newest: bool) -> None:
    """The folder, with the names of the model's own tensors instead of those of its files."""
    theirs.save_pretrained(folder)
    if newest:
        save_file(
            {name: value.contiguous() for name, value in theirs.state_dict().items()}, folder / "model.safetensors"
        )


@pytest.mark.parametrize(("name", "newest"), [*((name, False) for name in MODELS), *((name, True) for name in NAMES_5)])
def test_features_are_transformers_own(name, newest, tmp_path):
    theirs = shaken(MODELS[name]()).eval()
    write(theirs, tmp_path, newest)
    model, match = fill(find(tmp_path))
    with torch.no_grad():
        expected = features(theirs, model.normalise(pixels()))
        encoded = model(pixels())
    found = torch.cat([encoded.prefix, encoded.tokens], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)
    assert not match.missing and match.share == 1


def test_deits_and_vits_classifiers_have_their_logits(tmp_path):
    for name in ("vit classifier", "deit classifier", "deit classifier of two tokens"):
        theirs = shaken(MODELS[name]()).eval()
        theirs.save_pretrained(tmp_path / name)
        model = load(tmp_path / name)
        with torch.no_grad():
            expected = theirs(model.normalise(pixels())).logits
            torch.testing.assert_close(model.classifier(0.0)(pixels()), expected, rtol=1e-5, atol=2e-5)


def test_two_classifiers_of_deit_make_timms_distilled_model(tmp_path):
    shaken(MODELS["deit classifier of two tokens"]()).save_pretrained(tmp_path)
    model, match = fill(find(tmp_path))
    assert model.facts.encoder.model == "deit_tiny_distilled_patch16_224" and model.facts.classes is not None
    assert not match.missing and not match.unexpected


@pytest.mark.parametrize("name", ["dinov2 classifier", "clip with projection"])
def test_heads_of_another_kind_are_left_out_by_name(name, tmp_path):
    shaken(MODELS[name]()).save_pretrained(tmp_path)
    found = find(tmp_path)
    assert found.facts.classes is None
    said = " ".join([*fill(found)[1].describe(), *found.remarks])
    assert "left out" in said and ("classifier" in said or "visual_projection" in said)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "data2vec-vision"}, "'data2vec-vision', which has relative position bias"),
        ({"model_type": "nobodys"}, "'nobodys'; of transformers' are read vit, vit_mae"),
    ],
)
def test_other_networks_are_refused_by_name_and_reason(config, reason, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=reason):
        load(tmp_path)


def test_gated_mlps_are_refused_by_name(tmp_path):
    of("Dinov2", **SIZES, use_swiglu_ffn=True).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="use_swiglu_ffn is true"):
        load(tmp_path)


CONFIGS = {
    "vit": "ViT", "vit_mae": "ViTMAE", "vit_msn": "ViTMSN", "deit": "DeiT", "ijepa": "IJepa", "dinov2": "Dinov2",
    "dinov2_with_registers": "Dinov2WithRegisters", "siglip_vision_model": "SiglipVision",
    "siglip2_vision_model": "Siglip2Vision", "clip_vision_model": "CLIPVision",
    "dinov3_vit": "DINOv3ViT", "beit": "Beit",
}  # fmt: skip


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_a_config_leaves_out_is_what_transformers_takes(kind):
    usual = getattr(transformers, f"{CONFIGS[kind]}Config")()
    assert usual.model_type == kind
    ours = {name: value for name, value in FAMILIES[kind].items() if hasattr(usual, name)}
    assert {name: getattr(usual, name) for name in ours} == ours
    assert {*FAMILIES[kind]} - {*ours} <= {"qkv_bias", "intermediate_size", "image_size"}


@pytest.mark.parametrize("classes", [0, 3])
def test_a_timm_wrapper_has_the_wrapped_models_features(classes, tmp_path):
    """Written by hand as transformers writes it: config.json with timm's words, tensors behind `timm_model.`."""
    theirs = tiny_vit(num_classes=classes)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2}
    said = {"architecture": "vit_tiny_patch16_224", "model_type": "timm_wrapper", "model_args": sizes}
    said |= {"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}, "label_names": ["a", "b", "c"]}
    (tmp_path / "config.json").write_text(json.dumps(said))
    save_file(
        {f"timm_model.{name}": value for name, value in theirs.state_dict().items()}, tmp_path / "model.safetensors"
    )
    model = load(tmp_path)
    assert (model.facts.mean, model.facts.classes) == ([0.1, 0.2, 0.3], ["a", "b", "c"] if classes else None)
    with torch.no_grad():
        normalised = model.normalise(pixels())
        torch.testing.assert_close(model.encoder.vit(normalised), theirs(normalised))
    (tmp_path / "config.json").write_text(json.dumps(said | {"model_args": sizes | {"checkpoint_path": "/a"}}))
    with pytest.raises(ValueError, match="model_args hold checkpoint_path"):
        load(tmp_path)


@pytest.mark.slow
def test_a_folder_that_transformers_wrapper_wrote_is_read(tmp_path):
    config = transformers.TimmWrapperConfig(architecture="test_vit")
    theirs = transformers.TimmWrapperForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    model = load(tmp_path)
    images = pixels(model.facts.encoder.image_size[0])
    with torch.no_grad():
        expected = theirs(model.normalise(images)).logits
        torch.testing.assert_close(model.classifier(0.0)(images), expected, rtol=1e-5, atol=1e-5)
