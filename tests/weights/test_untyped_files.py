import argparse
import json
import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN
from timm.models.vision_transformer import VisionTransformer

from pcae.weights.files import fill, find, load
from pcae.weights.structure import usual_heads
from tests.weights.tiny import assert_same_features, pixels, shaken, tiny_vit

KINDS = [
    ("vit_tiny_patch16_224", 1),
    ("vit_tiny_patch16_224", 1, {"num_classes": 3}),
    ("vit_tiny_patch16_224", 1, {"num_classes": 3, "global_pool": "avg"}),
    ("vit_base_patch14_dinov2", 1),
    ("vit_base_patch14_reg4_dinov2", 5),
    ("deit3_small_patch16_224", 1, {"num_classes": 3}),
    ("flexivit_small", 1),
    ("vit_base_patch16_gap_224", 0, {"num_classes": 3}),
    ("vit_base_patch16_reg4_gap_256", 4, {"num_classes": 3}),
    ("vit_medium_patch16_reg4_gap_256", 4),
    ("vit_medium_patch16_reg1_gap_256", 1),
    ("vit_tiny_patch16_224", 1, {"in_chans": 1}),
]


def mae(vit, **more) -> dict:
    """A training checkpoint as MAE writes it, with a decoder of one block."""
    decoder = {f"decoder_blocks.0.{name}": value for name, value in tiny_vit().blocks[0].state_dict().items()}
    decoder |= {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 17, 8)}
    args = argparse.Namespace(lr=1e-3, data_path="images")
    return {"model": vit.state_dict() | decoder, "optimizer": {"state": {}}, "epoch": 3, "args": args} | more


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_plain_vit_of_timm_is_read_off_its_tensors(kind, tmp_path):
    name, n_prefix, options = (*kind, {})[:3]
    vit = tiny_vit(name, **options)
    save_file(vit.state_dict(), tmp_path / "a.safetensors")
    model, match = fill(find(tmp_path / "a.safetensors"))
    assert match.share == 1.0 and not match.missing and not match.unexpected
    size = model.facts.encoder
    assert (size.image_size, size.patch_size, size.width, size.depth, size.heads) == ((32, 32), 8, 128, 2, 2)
    normalised = model.normalise(pixels(32, options.get("in_chans", 3)))
    assert_same_features(model, vit.forward_features(normalised).detach(), n_prefix)
    if "num_classes" in options:
        assert model.facts.classes == ["0", "1", "2"]
        logits = model.classifier(0.0)(pixels())
        torch.testing.assert_close(logits, vit(normalised), rtol=1e-5, atol=1e-5)


def test_maes_training_checkpoint_loads_and_its_decoder_is_counted(tmp_path):
    vit = tiny_vit()
    torch.save(mae(vit), tmp_path / "checkpoint-3.pth")
    found = find(tmp_path / "checkpoint-3.pth")
    model, match = fill(found)
    assert match.describe()[-1] == "unexpected, left out: decoder: 14"
    assert model.facts.classes is None and model.facts.mean == list(IMAGENET_DEFAULT_MEAN)
    assert any("2 heads, by the width" in line for line in found.remarks)
    assert any("mean and std of ImageNet, images of 32 x 32" in line for line in found.remarks)
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"model": tensors},
        lambda tensors: {"state_dict": {f"module.{name}": value for name, value in tensors.items()}, "epoch": 1},
    ],
)
def test_torch_files_flat_or_under_a_name_and_from_several_gpus(tmp_path, name, wrap):
    vit = tiny_vit()
    torch.save(wrap(vit.state_dict()), tmp_path / name)
    model = load(tmp_path / name)
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


def test_another_image_size_resizes_positions_and_must_fit_the_patch(tmp_path):
    save_file(tiny_vit().state_dict(), tmp_path / "a.safetensors")
    model = load(tmp_path / "a.safetensors", image_size=(48, 24))
    assert model.facts.encoder.image_size == (48, 24) and model.encoder.grid == (6, 3)
    with pytest.raises(ValueError, match=r"image_size \(30, 30\) must be a positive multiple of the patch size"):
        load(tmp_path / "a.safetensors", image_size=(30, 30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.0.attn.relative_position_bias_table": torch.ones(2)}, "has pos_embed beside relative position bias"),
        ({"rel_pos_bias.x": torch.ones(2)}, "has relative position bias .*; give the same network as timm:NAME, or a"),
        ({"blocks.0.attn.q_norm.weight": torch.ones(2)}, "no place for blocks.0.attn.q_norm.weight"),
        ({"blocks.0.mlp.fc1.weight": torch.ones(256, 128)}, r"blocks.0.mlp.fc1.bias is \(512,\) in the weights"),
        ({"pos_embed": torch.ones(1, 24, 128)}, "24 positions, which are no square grid with or without 1 more"),
        ({"blocks.0.mlp.w12.weight": torch.ones(2)}, "has gated MLPs"),
        ({"rope.freqs": torch.ones(2)}, "has rotary positions"),
        ({"rope_embed.periods": torch.ones(2)}, "has other rotary periods"),
        ({"blocks.0.attn.q_bias": torch.ones(128)}, "has biases of queries by themselves"),
        ({"embeds.proj.weight": torch.ones(2), "patch_embed.proj.weight": None}, "NaFlexVit's tensors do not say what"),
        ({"norm_pre.weight": torch.ones(128)}, "a norm before the blocks, .* whose activation stands in no tensor"),
        ({"attn_pool.latent": torch.ones(1, 1, 128), "cls_token": None}, "pooling by attention, .* in no tensor"),
        ({"blocks.0.mlp.fc1_g.weight": torch.ones(2), "blocks.0.mlp.fc1.weight": None}, "has gated MLPs"),
        ({"blocks.0.mlp.fc2.weight": torch.ones(128, 256)}, r"has gated MLPs \(blocks.0.mlp.fc2.weight\)"),
        ({"blocks.0.attn.qkv.lora_A.weight": torch.ones(2)}, "hold an adapter beside them .*peft merge it first"),
        (
            {"patch_embed.proj.weight": None, "visual.conv1.weight": torch.ones(2)},
            "OpenCLIP's names are not read; give",
        ),
        ({"patch_embed.proj.weight": None, "embeddings.x": torch.ones(2)}, "in their folder, with its config.json"),
        ({"patch_embed.proj.weight": torch.ones(128, 3, 8, 4)}, "no encoder of square patches"),
        ({"pos_embed": None}, "holds no pos_embed"),
        ({"pos_embed": torch.ones(9)}, "a.safetensors holds no model that can be read|positions"),
        ({"blocks.0.mlp.fc1.weight": torch.ones(())}, "a.safetensors holds no model that can be read"),
        ({"blocks.0.mlp.fc1.weight": None}, "holds no encoder: no blocks.0.mlp.fc1.weight"),
        ({"patch_embed.proj.weight": None}, "holds no encoder: no patch_embed.proj.weight"),
    ],
)
def test_other_networks_are_refused_in_one_line(tmp_path, change, message):
    tensors = {name: value for name, value in (tiny_vit().state_dict() | change).items() if value is not None}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def plain_files() -> list[str]:
    """timm's networks of the families that are no plain VisionTransformer."""
    return [name for module in ("eva", "beit", "deit", "naflexvit") for name in timm.list_models(module=module)]


def built(name: str) -> torch.nn.Module | None:
    """timm's network at a tiny size, in which every part counts; None where it has sizes by block."""
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 1, "num_classes": 3}
    grid = {} if "naflex" in name else {"img_size": 32, "patch_size": 8}
    return None if "sapiens2" in name else shaken(timm.create_model(name, **sizes | grid)).eval()


@pytest.mark.parametrize("name", plain_files())
def test_a_plain_file_of_another_family_is_read_right_or_refused(name, tmp_path):
    """Never silently wrong: timm's own features, or one line that names the remedy."""
    vit = built(name)
    if vit is None:
        return
    save_file({name: value.clone() for name, value in vit.state_dict().items()}, tmp_path / "a.safetensors")
    try:
        model = load(tmp_path / "a.safetensors")
    except ValueError as error:
        assert "timm:NAME" in str(error) and "\n" not in str(error)
        assert not name.startswith(("beit", "deit_"))
        return
    expected = vit.forward_features(model.normalise(pixels())).detach()
    assert_same_features(model, expected, n_prefix=vit.num_prefix_tokens)


def test_what_deit_iii_and_rotary_vits_both_have_is_refused(tmp_path):
    """Layer scale by its older name and positions of patches alone: nothing says whether queries are turned."""
    vit = tiny_vit("deit3_small_patch16_224")
    older = {re.sub(r"\.ls([12])\.gamma", r".gamma_\1", name): value for name, value in vit.state_dict().items()}
    save_file(older, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="DeiT III's files have that, and those of ViTs with rotary positions; give"):
        load(tmp_path / "a.safetensors")
    ibots = tiny_vit("vit_tiny_patch16_224", init_values=0.1)  # positions of all tokens, which no rotary ViT has
    older = {re.sub(r"\.ls([12])\.gamma", r".gamma_\1", name): value for name, value in ibots.state_dict().items()}
    save_file(older, tmp_path / "b.safetensors")
    model = load(tmp_path / "b.safetensors")
    assert_same_features(model, ibots.forward_features(model.normalise(pixels())).detach())


OTHERS = ("aimv2", "beit3", "test_vit", "_xp_", "18x2", "pwee", "vit_base_patch16_gap_224", "giantopt")
"""Parts of the names of timm's networks that are refused for other reasons, or whose heads only timm knows."""


def test_heads_by_the_width_are_those_of_timms_networks():
    for name in timm.list_models(module="vision_transformer"):
        with torch.device("meta"):
            vit = timm.create_model(name)
        if type(vit) is VisionTransformer and not any(part in name for part in OTHERS):
            assert usual_heads(vit.embed_dim) == vit.blocks[0].attn.num_heads, name


def test_moco_v3s_small_network_has_twelve_heads(tmp_path):
    """As its code has them: 384 features, 12 heads."""
    vit = tiny_vit("vit_small_patch16_224", embed_dim=384, num_heads=12)
    torch.save({f"module.base_encoder.{name}": value for name, value in vit.state_dict().items()}, tmp_path / "a.pth")
    found = find(tmp_path / "a.pth")
    model = fill(found)[0]
    assert model.facts.encoder.heads == 12 and "12 heads, as MoCo v3's" in " ".join(found.remarks)
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


def test_other_heads_than_usual_are_said_by_a_folder_of_timms(tmp_path):
    """The remedy of docs/downstream.md."""
    vit = tiny_vit(num_heads=8)
    save_file(vit.state_dict(), tmp_path / "model.safetensors")
    assert find(tmp_path / "model.safetensors").facts.encoder.heads == 2
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 8}
    said = {"architecture": "vit_tiny_patch16_224", "num_classes": 0, "model_args": sizes, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(said))
    model = load(tmp_path)
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())


def test_what_is_taken_for_granted_is_said(tmp_path):
    save_file(tiny_vit().state_dict(), tmp_path / "a.safetensors")
    said = find(tmp_path / "a.safetensors").remarks[-1]
    assert said.startswith("taken for granted: activation GELU, mean and std of ImageNet, images of 32 x 32")


@pytest.mark.parametrize("name", ["masked_embed", "n_averaged", "fc.fc1.weight"])
def test_what_stands_beside_an_encoder_is_left_out_by_name(name, tmp_path):
    """iBOT's token of hidden patches, the count of torch's AveragedModel, MSN's head."""
    vit = tiny_vit()
    save_file(vit.state_dict() | {name: torch.ones(1, 128)}, tmp_path / "a.safetensors")
    model, match = fill(find(tmp_path / "a.safetensors"))
    assert match.unexpected == (name,) and "left out" in match.describe()[-1]
    assert_same_features(model, vit.forward_features(model.normalise(pixels())).detach())
