"""Models as weights: loaded models, encoders, reduced models and timm's own stand where places of weights do."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import pcae
from pcae.model.reduced import ReducedViT
from pcae.model.reduction import Reduction
from pcae.settings.given import Given
from pcae.settings.sources import as_weights
from pcae.settings.trained import Rule
from pcae.weights.decoders import DECODER_FILE
from pcae.weights.files import find
from tests.weights.tiny import assert_same_features, pixels, shaken, tiny_vit

VARIANTS = {
    "encoder": {},
    "classes": {"num_classes": 5},
    "average": {"num_classes": 5, "global_pool": "avg"},
    "average without norm": {"num_classes": 5, "global_pool": "avg", "fc_norm": False},
    "class token with norm": {"num_classes": 5, "fc_norm": True},
    "registers": {"reg_tokens": 4},
    "registers without positions": {"reg_tokens": 4, "no_embed_class": True},
    "no prefix": {"class_token": False, "global_pool": "avg"},
    "pre-norm and layer scale": {"pre_norm": True, "init_values": 0.1},
    "no bias": {"qkv_bias": False},
    "narrow": {"mlp_ratio": 3.0},
    "gray": {"in_chans": 1},
    "CLIP's": {"name": "vit_base_patch16_clip_quickgelu_224"},
    "DINOv2's": {"name": "vit_small_patch14_reg4_dinov2"},
    "MAE's": {"name": "vit_base_patch16_224.mae"},
}


def features(vit, images):
    with torch.no_grad():
        return vit.forward_features(images)


@pytest.mark.parametrize("variant", VARIANTS)
def test_timms_models_compute_the_same(variant):
    vit = tiny_vit(**VARIANTS[variant])
    model = pcae.load(vit)
    images = model.normalise(pixels(channels=model.facts.encoder.channels))
    assert_same_features(model, features(vit, images), vit.num_prefix_tokens)
    with torch.no_grad():
        torch.testing.assert_close(model.encoder.vit(images), vit(images))


def test_mean_std_and_classes_are_timms_and_said_to_be():
    vit = tiny_vit("vit_base_patch16_clip_224", num_classes=3)
    vit.pretrained_cfg = vit.pretrained_cfg | {"label_names": ["ant", "bee", "cat"]}
    loaded = find(as_weights(vit))
    facts, said = loaded.facts, timm.get_pretrained_cfg("vit_base_patch16_clip_224")
    assert (facts.mean, facts.std) == (list(said.mean), list(said.std)) and facts.crop_pct == said.crop_pct
    assert facts.classes == ["ant", "bee", "cat"] and loaded.source == "<VisionTransformer>"
    assert loaded.remarks == (f"taken for granted: mean {facts.mean} and std {facts.std}, as timm has them for it",)


def test_a_loaded_model_keeps_what_it_says_of_itself(encoder, config):
    facts = replace(pcae.load(encoder).facts, mean=[0.1] * 3, std=[0.3] * 3, crop_pct=0.8)
    model = pcae.load(pcae.Pretrained(encoder, facts))
    assert model.facts == facts and not find(as_weights(model)).remarks
    assert pcae.load(model, image_size=48).encoder.image_size == (48, 48)


def test_models_are_copied_and_stay_as_they_are():
    vit = tiny_vit().train()
    before = copy.deepcopy(vit.state_dict())
    shaken(pcae.load(vit).encoder)
    assert vit.training and all(torch.equal(value, before[name]) for name, value in vit.state_dict().items())
    assert all(parameter.requires_grad for parameter in vit.parameters())


def test_wrapped_models_are_unwrapped():
    vit = tiny_vit()
    assert torch.equal(pcae.load(torch.nn.DataParallel(vit)).encoder.vit.norm.weight, vit.norm.weight)


def test_a_reduced_model_says_what_it_drops():
    vit = tiny_vit(num_classes=3, global_pool="avg")
    facts = pcae.load(pcae.reduce(vit, drop_ratio=0.3, pool_dropped=True)).facts
    assert facts.drop_ratios == (0.3, 0.3) and facts.rule == Rule(fold="pool")
    facts = pcae.load(pcae.reduce(vit, 0.2, "bipartite", "merge", after=(1,), before_mlp=True)).facts
    assert facts.rule == Rule(criterion="bipartite", fold="merge", after=(1,), before_mlp=True)
    with pytest.raises(ValueError, match=r"shares of their own, \(0.7, 0.5\)"):
        pcae.load(ReducedViT(vit, Reduction(keep=(0.7, 0.5), after=(0, 1))))


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"qk_norm": True}, "of any name and sizes: .*q_norm"),
        ({"act_layer": "quick_gelu"}, "blocks.0.mlp.act QuickGELU.*pcae.reduce and pcae.PCAE take the model itself"),
        ({"pos_embed": "none"}, "positions None, where timm's has positions"),
    ],
)
def test_what_no_name_of_timms_describes_is_refused(odd, message):
    with pytest.raises(ValueError, match=message):
        pcae.load(tiny_vit(**odd))


def test_an_object_of_a_run_before_is_no_place():
    with pytest.raises(
        ValueError, match="were an object, <Encoder>, of which its run keeps the name alone; give a file"
    ):
        pcae.load("<Encoder>")


def test_weights_are_words_or_objects(tmp_path):
    vit = tiny_vit()
    given = as_weights(vit)
    assert given == "<VisionTransformer>" and isinstance(given, Given) and given.value is vit
    assert as_weights(given) is given
    assert as_weights(tmp_path) == str(tmp_path) and as_weights("timm:a") == "timm:a"


@pytest.mark.parametrize("statistics", [{"mean": [0.2, 0.3, 0.4], "std": 0.5}, {"mean": 0.5, "std": [0.1, 0.2, 0.3]}])
def test_what_is_saved_is_read_by_pcae_and_plain_timm(statistics, encoder, tmp_path):
    path = pcae.save(shaken(encoder), tmp_path / "new" / "encoder.safetensors", **statistics)
    model = pcae.load(path)
    expected = {name: value if isinstance(value, list) else [value] * 3 for name, value in statistics.items()}
    assert {"mean": model.facts.mean, "std": model.facts.std} == expected and model.facts.crop_pct == 1
    images = torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8)
    plain = timm.create_model(
        "vit_tiny_patch16_224", img_size=(32, 48), patch_size=8, embed_dim=24, depth=6, num_heads=2, num_classes=0
    )
    plain.load_state_dict(load_file(path), strict=True)
    assert_saved = features(plain.eval(), model.normalise(images))
    with torch.no_grad():
        torch.testing.assert_close(model(images).tokens, assert_saved[:, 1:])
    again = pcae.save(model, tmp_path / "again.safetensors")
    assert pcae.load(again).facts == model.facts


def photos(folder) -> str:
    noise = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
            for index in range(4):
                pixels = noise.integers(0, 256, (40, 36, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")
    return str(folder)


def test_features_of_timms_model_are_its_own(tmp_path):
    vit, images = tiny_vit(), pcae.open_images(photos(tmp_path), "test")
    found = pcae.embed(vit, images)
    torch.testing.assert_close(found, pcae.embed(pcae.load(vit), images), rtol=0, atol=0)
    assert found.shape == (8, 128)


def assert_same_weights(one, other) -> None:
    ours, theirs = load_file(one), load_file(other)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.trains
@pytest.mark.slow
def test_fine_tuning_from_an_object_is_fine_tuning_from_its_file(tmp_path):
    data, vit = photos(tmp_path / "data"), tiny_vit()
    before = copy.deepcopy(vit.state_dict())
    facts = pcae.load(vit).facts
    file = pcae.save(vit, tmp_path / "vit.safetensors", mean=facts.mean, std=facts.std)
    small = {"steps": 2, "batch_size": 4, "device": "cpu"}
    for out, weights in (("a", as_weights(vit)), ("b", str(file)), ("c", as_weights(pcae.load(file)))):
        pcae.finetune(data, tmp_path / out, weights=weights, **small)
    for out in "bc":
        assert_same_weights(tmp_path / "a" / "classifier.safetensors", tmp_path / out / "classifier.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in vit.state_dict().items())
    said = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert said["weights"] == "<VisionTransformer>"


@pytest.mark.trains
def test_pre_training_goes_on_from_a_loaded_model_and_its_decoder(tmp_path):
    data = photos(tmp_path / "data")
    small = {"steps": 1, "batch_size": 4, "device": "cpu", "image_size": [32, 32]}
    net = {"model": "vit_tiny_patch16_224", "width": 24, "depth": 3, "heads": 2, "patch_size": 8}
    decoder = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    pcae.pretrain(data, tmp_path / "first", **small, **net, **decoder)
    for out, init in (("file", str(tmp_path / "first")), ("object", as_weights(pcae.load(tmp_path / "first")))):
        pcae.pretrain(data, tmp_path / out, init=init, **small, **decoder)
    for name in ("encoder.safetensors", DECODER_FILE):
        assert_same_weights(tmp_path / "file" / name, tmp_path / "object" / name)


@pytest.mark.slow
def test_a_classifier_that_checks_its_images_is_exported_for_any_number_of_them():
    classifier, images = pcae.load(tiny_vit(num_classes=3)).classifier(0.3), pixels()
    free = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(classifier, (images,), dynamic_shapes=free).module()
    three = torch.cat([images, images[:1]])
    with torch.no_grad():
        torch.testing.assert_close(program(three), classifier(three))
