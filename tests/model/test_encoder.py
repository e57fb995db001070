import pytest
import timm
import torch

from pcae.model.blocks import run_blocks
from pcae.model.encoder import Encoder, build_encoder
from pcae.model.reduction import Reduction
from pcae.model.tokens import all_ids, gather, patchify, sincos_positions
from pcae.settings.network import EncoderConfig

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2, "num_classes": 5}
VARIANTS = {
    "cls": {},
    "registers": {"reg_tokens": 4},
    "registers without positions": {"reg_tokens": 4, "no_embed_class": True},
    "no prefix": {"class_token": False, "global_pool": "avg"},
    "pre-norm and layer scale": {"pre_norm": True, "init_values": 0.1},
    "no positions": {"pos_embed": "none"},
}


def make_vit(**options):
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", **(SMALL | options)).eval()
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return vit


def whole(encoder: Encoder, images: torch.Tensor, grid=None, **options):
    patches = patchify(images, encoder.patch_size)
    ids = all_ids(len(images), patches.shape[1], images.device)
    return encoder(patches, ids, grid or encoder.grid, **options)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("keep_one", [False, True])
def test_without_a_reduction_the_encoder_is_timms_forward(variant, keep_one):
    vit, images = make_vit(**VARIANTS[variant], fc_norm=False), torch.randn(2, 3, 32, 32)
    reduction = Reduction(keep=1.0, after=(0, 2), fold="append") if keep_one else None
    with torch.no_grad():
        encoded = whole(Encoder(vit), images, reduction=reduction)
        expected = vit.forward_features(images)
    torch.testing.assert_close(torch.cat([encoded.prefix, encoded.tokens], 1), expected, rtol=1e-5, atol=1e-5)
    assert encoded.appended.shape[1] == 0 and encoded.stages == ()


def test_another_grid_gets_resized_positions_as_in_timm():
    vit = make_vit(dynamic_img_size=True)
    images = torch.randn(2, 3, 48, 24)
    with torch.no_grad():
        encoded = whole(Encoder(vit), images, grid=(6, 3))
        torch.testing.assert_close(encoded.tokens, vit.forward_features(images)[:, 1:], rtol=1e-5, atol=1e-5)


def test_gathering_before_the_embedding_equals_gathering_after_it(encoder, images):
    ids = torch.tensor([[0, 3, 7], [1, 2, 23], [4, 5, 6], [9, 11, 22]])
    patches = patchify(images, encoder.patch_size)
    torch.testing.assert_close(
        encoder.embed(gather(patches, ids)), gather(encoder.embed(patches), ids), rtol=1e-5, atol=1e-5
    )
    convolved = encoder.vit.patch_embed(images)
    torch.testing.assert_close(encoder.embed(patches), convolved, rtol=1e-5, atol=1e-5)


def test_record_and_stages_are_what_a_hook_on_the_blocks_sees(encoder, images):
    outputs = []
    hooks = [b.register_forward_hook(lambda _, __, out: outputs.append(out.detach())) for b in encoder.vit.blocks]
    reduction = Reduction(keep=0.5, after=(0, 3), fold="append")
    encoded = whole(encoder.eval(), images, reduction=reduction, record=range(encoder.depth))
    for hook in hooks:
        hook.remove()
    lengths = [24, 12, 12, 12, 6, 6]
    assert [out.shape[1] for out in outputs] == [1 + n + a for n, a in zip(lengths, [0, 1, 1, 1, 2, 2], strict=True)]
    for block, out in enumerate(outputs):
        tokens, ids = encoded.recorded[block]
        assert tokens.shape[1] == ids.shape[1] == lengths[block]
        torch.testing.assert_close(tokens, out[:, 1 : 1 + lengths[block]], rtol=0, atol=0)
    first, second = encoded.stages
    assert (first.block, second.block) == (0, 3)
    torch.testing.assert_close(encoded.recorded[1][1], first.kept_ids)
    torch.testing.assert_close(second.ids, first.kept_ids)
    torch.testing.assert_close(encoded.ids, second.kept_ids)
    for stage in encoded.stages:
        seen = encoded.recorded[stage.block][0].double()
        mean = seen.mean(1, keepdim=True)
        cosine = (seen * mean).sum(-1) / (seen.norm(dim=-1) * mean.norm(dim=-1))
        torch.testing.assert_close(stage.scores.double(), cosine, rtol=1e-4, atol=1e-5)
        for ids, scores, kept in zip(stage.ids, cosine, stage.kept_ids, strict=True):
            expected = ids[scores.argsort()[: len(kept)]].sort().values
            torch.testing.assert_close(kept, expected)


def test_the_teachers_view_has_no_prefix(encoder, images):
    encoded = whole(encoder, images, prefix=False)
    assert encoded.prefix.shape == (4, 0, 24) and encoded.tokens.shape == (4, 24, 24)


def test_positions_are_sine_cosine_and_fixed(encoder):
    table = encoder.vit.pos_embed
    assert not table.requires_grad and table[0, 0].abs().max() == 0
    torch.testing.assert_close(table[0, 1:].detach(), sincos_positions((4, 6), 24))


def test_its_state_dict_loads_into_plain_timm(encoder, config):
    plain = timm.create_model(
        config.model, img_size=config.image_size, patch_size=8, embed_dim=24, depth=6, num_heads=2, num_classes=0
    )
    plain.load_state_dict(encoder.vit.state_dict(), strict=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("swin_tiny_patch4_window7_224", "got SwinTransformer"),
        ("cait_xxs24_224", "got Cait"),
        ("resnet18", "'resnet18': only timm's .* got ResNet; try vit_small_patch16_224"),
        ("vit_tiny_patch16_225", "did you mean vit_tiny_patch16_224"),
        ("vit_small_r26_s32_224", "got HybridEmbed"),
    ],
)
def test_other_families_and_unknown_names_are_refused_by_name(model, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build_encoder(EncoderConfig(model=model))


@pytest.mark.parametrize(
    "wrong",
    [{"image_size": (30, 32)}, {"patch_size": 0}, {"heads": 5, "width": 24}, {"depth": 0}, {"image_size": (0, 0)}],
)
def test_sizes_that_do_not_fit_are_refused(wrong):
    sizes = {"model": "vit_tiny_patch16_224", "image_size": (32, 32), "patch_size": 8} | wrong
    with pytest.raises(ValueError, match="must|does not work with"):
        build_encoder(EncoderConfig(**sizes))


def test_blocks_that_do_not_exist_are_refused(encoder, images):
    with pytest.raises(ValueError, match=r"blocks \[6, 9\] are named"):
        whole(encoder, images, reduction=Reduction(keep=0.5, after=(0, 9)), record=(6,))


def test_a_patch_of_another_size_is_refused(encoder):
    with pytest.raises(ValueError, match="patches of 192 values"):
        encoder(torch.zeros(1, 2, 100), torch.tensor([[0, 1]]), encoder.grid)


def test_run_blocks_needs_no_encoder():
    blocks = [torch.nn.Identity()] * 3
    tokens = torch.randn(1, 8, 4)
    ids = all_ids(1, 8, tokens.device)
    out = run_blocks(blocks, tokens, ids, torch.zeros(1, 0, 4), Reduction(keep=0.5, after=(1,)))
    torch.testing.assert_close(out.tokens, gather(tokens, out.ids), rtol=0, atol=0)
