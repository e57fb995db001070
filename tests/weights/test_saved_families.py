"""A model of any family that is saved comes back as it was, or is not saved, and why is said."""

import pytest
import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import Attention, ParallelScalingBlock, ResPostBlock
from torch import nn

import pcae
from tests.weights.tiny import shaken

SIZES = {"patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 3, "num_classes": 5}
PLAIN, DEIT, EVA, EVA02, BEIT, NAFLEX = (
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224",
    "beit_base_patch16_224",
    "naflexvit_base_patch16_gap",
)
VALUES = {"mean": 0.5, "std": 0.25}


def made(name: str, options: dict) -> nn.Module:
    grid = {"pos_embed_grid_size": (4, 6)} if name == NAFLEX else {"img_size": (32, 48)}
    torch.manual_seed(0)
    return shaken(timm.create_model(name, **SIZES | grid | options)).eval()


def images(channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 32, 48, generator=torch.Generator().manual_seed(1))


def assert_same(model: nn.Module, other: nn.Module, pictures: torch.Tensor) -> None:
    """Bit for bit: tokens, logits or pooled features."""
    with torch.no_grad():
        for ours, theirs in ((model.forward_features, other.forward_features), (model, other)):
            torch.testing.assert_close(ours(pictures), theirs(pictures), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in (DEIT, EVA, EVA02, BEIT, NAFLEX)),
        *((name, {"num_classes": 0, "in_chans": 1}) for name in (PLAIN, DEIT, EVA, EVA02, BEIT, NAFLEX)),
        *((name, {"global_pool": "avg"}) for name in (PLAIN, EVA, EVA02, BEIT)),
        *((name, {"global_pool": "map"}) for name in (PLAIN, EVA, EVA02, NAFLEX)),
        *((name, {"init_values": 0.1, "drop_rate": 0.1}) for name in (PLAIN, DEIT, EVA, EVA02, BEIT, NAFLEX)),
        *((name, {"mlp_ratio": 3.0, "drop_path_rate": 0.2}) for name in (PLAIN, DEIT, EVA, BEIT, NAFLEX)),
        *((name, {"patch_drop_rate": 0.2, "dynamic_img_size": True}) for name in (PLAIN, EVA, EVA02)),
        (PLAIN, {"reg_tokens": 2}),
        (PLAIN, {"reg_tokens": 2, "no_embed_class": True, "class_token": False, "global_pool": "avg"}),
        (PLAIN, {"global_pool": "avg", "fc_norm": False}),
        (EVA, {"num_reg_tokens": 2}),
        (EVA, {"num_reg_tokens": 0, "global_pool": "max"}),
        (EVA, {"class_token": False, "global_pool": "avg"}),
        (EVA, {"rope_shift_coords": 0.5}),
        (EVA02, {"num_reg_tokens": 3}),
        (EVA02, {"class_token": False, "num_reg_tokens": 1, "global_pool": "avg"}),
        (BEIT, {"global_pool": "token"}),
        (NAFLEX, {"reg_tokens": 2}),
        (NAFLEX, {"class_token": True, "global_pool": "token"}),
        (NAFLEX, {"class_token": True, "reg_tokens": 0, "patch_drop_rate": 0.2}),
    ],
)
def test_what_is_saved_is_read_again(name, options, tmp_path):
    model = made(name, options)
    pcae.save(model, tmp_path / "model.safetensors", **VALUES)
    again = pcae.load(tmp_path / "model.safetensors")
    assert_same(again.encoder.vit, model, images(options.get("in_chans", 3)))


class Halved(Attention):
    """The same parts, and another result."""

    def forward(self, x: torch.Tensor, *rest, **options) -> torch.Tensor:
        return super().forward(x, *rest, **options) / 2


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        (EVA, {"rope_temperature": 50.0}, "rope.temperature 50.0, where timm's has rope.temperature 100.0"),
        (EVA, {"rope_rotate_half": False}, "rotate_half False"),
        (EVA, {"rope_grid_offset": 0.5}, "rope.grid_offset 0.5"),
        (EVA, {"use_abs_pos_emb": True}, "pos_embed 1 x 29 x 48, where timm's has no pos_embed"),
        (EVA, {"qk_norm": True}, "q_norm"),
        (EVA, {"use_post_transformer_norm": False}, "no norm.weight, where timm's has norm.weight 48"),
        (EVA, {"attn_type": "rope"}, "blocks.0.attn AttentionRope"),
        (EVA02, {"ref_feat_shape": (4, 6)}, r"rope.ref_feat_shape \(4, 6\)"),
        (EVA02, {"rope_grid_indexing": "xy"}, "rope.grid_indexing xy"),
        (EVA02, {"qkv_bias": False}, "no blocks.0.attn.q_bias"),
        (EVA02, {"no_embed_class": True}, "pos_embed 1 x 24 x 48, where timm's has pos_embed 1 x 25 x 48"),
        (EVA02, {"use_rot_pos_emb": False}, "no rope"),
        (BEIT, {"use_rel_pos_bias": False, "use_abs_pos_emb": True}, "pos_embed"),
        (BEIT, {"use_shared_rel_pos_bias": True}, "rel_pos_bias.relative_position_bias_table"),
        (BEIT, {"swiglu_mlp": True}, "mlp"),
        (NAFLEX, {"pos_embed_interp_mode": "bilinear"}, "embeds.pos_embed_interp_mode bilinear"),
        (NAFLEX, {"pos_embed_ar_preserving": True}, "embeds.pos_embed_ar_preserving True"),
        (NAFLEX, {"pos_embed": "factorized"}, "embeds.pos_embed_y"),
        (NAFLEX, {"class_token": True, "pool_include_prefix": True}, "pool_include_prefix True"),
        (DEIT, {"qkv_bias": False}, "blocks.0.attn.qkv Linear"),
        (PLAIN, {"act_layer": "relu"}, "act ReLU"),
        (PLAIN, {"qk_norm": True}, "blocks.0.attn.q_norm.weight 16, where timm's has no"),
        (PLAIN, {"global_pool": "avg", "pool_include_prefix": True}, "pool_include_prefix True"),
        (PLAIN, {"block_fn": ResPostBlock, "init_values": 0.1}, "blocks.0 ResPostBlock"),
        (PLAIN, {"block_fn": ParallelScalingBlock}, "blocks.0"),
        (PLAIN, {"attn_layer": Halved}, "blocks.0.attn Halved, where timm's has blocks.0.attn Attention"),
    ],
)
def test_what_no_name_describes_is_not_saved_and_works_itself(name, options, why, tmp_path):
    model, pictures = made(name, options), images()
    with pytest.raises(ValueError, match=f"otherwise than timm's of any name .*: .*{why}.*; pcae.reduce and") as no:
        pcae.save(model, tmp_path / "model.safetensors", **VALUES)
    assert "\n" not in str(no.value) and len(str(no.value)) < 350
    assert not [*tmp_path.iterdir()]
    with torch.no_grad():
        expected = model(pictures)
        torch.testing.assert_close(pcae.reduce(model, drop_ratio=0.0)(pictures), expected, rtol=1e-5, atol=1e-5)
        assert pcae.reduce(model, drop_ratio=0.3)(pictures).isfinite().all()
    assert pcae.PCAE(model)(pictures).loss.isfinite()


def test_a_model_without_a_name_of_timms_is_not_saved(tmp_path):
    sizes = {name: size for name, size in SIZES.items() if name != "num_classes"}
    with pytest.raises(ValueError, match=r"it was not made by timm.create_model; pcae.reduce and pcae.PCAE take"):
        pcae.save(Eva(img_size=(32, 48), **sizes), tmp_path / "model.safetensors", **VALUES)
    assert not [*tmp_path.iterdir()]
