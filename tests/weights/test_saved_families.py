"""A model of any family that is saved comes back as it was, or is not saved, and why is said."""

import pytest
import timm
import torch

import pcae
from tests.weights.tiny import shaken

SIZES = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 5}
EVA, EVA02, BEIT, NAFLEX = (
    "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224",
    "beit_base_patch16_224",
    "naflexvit_base_patch16_gap",
)
VALUES = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def made(name: str, options: dict) -> torch.nn.Module:
    grid = {"pos_embed_grid_size": (4, 6)} if name == NAFLEX else {"img_size": (32, 48)}
    torch.manual_seed(0)
    return shaken(timm.create_model(name, **SIZES, **grid, **options)).eval()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (EVA, {}),
        (EVA, {"num_reg_tokens": 2}),
        (EVA, {"global_pool": "avg"}),
        (EVA, {"class_token": False, "global_pool": "avg"}),
        (EVA, {"init_values": None}),
        (EVA02, {"num_reg_tokens": 3}),
        (BEIT, {}),
        (BEIT, {"global_pool": "token"}),
        (NAFLEX, {}),
        (NAFLEX, {"reg_tokens": 2}),
        (NAFLEX, {"class_token": True}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("vit_tiny_patch16_224", {"reg_tokens": 2}),
    ],
)
def test_what_is_saved_is_read_again(name, options, tmp_path):
    model, images = made(name, options), torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    pcae.save(model, tmp_path / "model.safetensors", **VALUES)
    again = pcae.load(tmp_path / "model.safetensors").encoder.vit
    with torch.no_grad():
        torch.testing.assert_close(again.forward_features(images), model.forward_features(images), rtol=0, atol=0)
        torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        (EVA, {"rope_temperature": 50.0}, "rope.temperature 50.0"),
        (EVA, {"rope_rotate_half": False}, "rotate_half False"),
        (EVA, {"rope_grid_offset": 0.5}, "rope.grid_offset 0.5"),
        (EVA, {"use_abs_pos_emb": True}, "pos_embed"),
        (EVA, {"qk_norm": True}, "q_norm"),
        (EVA02, {"ref_feat_shape": (4, 6)}, r"rope.ref_feat_shape \(4, 6\)"),
        (EVA02, {"rope_grid_indexing": "xy"}, "rope.grid_indexing xy"),
        (EVA02, {"qkv_bias": False}, "q_bias"),
        (BEIT, {"use_rel_pos_bias": False, "use_abs_pos_emb": True}, "relative_position_bias_table"),
        (BEIT, {"swiglu_mlp": True}, "mlp"),
        (NAFLEX, {"pos_embed_interp_mode": "bilinear"}, "embeds.pos_embed_interp_mode bilinear"),
        (NAFLEX, {"pos_embed_ar_preserving": True}, "embeds.pos_embed_ar_preserving True"),
        (NAFLEX, {"pos_embed": "factorized"}, "embeds.pos_embed"),
        ("vit_tiny_patch16_224", {"act_layer": "relu"}, "act ReLU"),
    ],
)
def test_what_no_name_describes_is_not_saved(name, options, why, tmp_path):
    with pytest.raises(ValueError, match=f"computes otherwise than timm's of any name and sizes: .*{why}.*PCAE"):
        pcae.save(made(name, options), tmp_path / "model.safetensors", **VALUES)
    assert not [*tmp_path.iterdir()]
