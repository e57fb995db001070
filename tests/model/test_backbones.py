"""Every family of timm's: the encoder and the reducer compute what timm does, and what is dropped or hidden is as if it
had never been there. One row a variant; adding a family is adding its rows."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import timm
import torch
from timm.models.beit import Beit
from torch import nn
from torch.nn.functional import pad, softmax

import pcae
from pcae.model.backbones import FAMILIES, backbone_of
from pcae.model.encoder import Encoder
from pcae.model.reduction import Reduction
from pcae.model.tokens import gather, patchify
from pcae.weights.matching import fit
from tests.weights.tiny import shaken

SIZES = {"patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 3, "num_classes": 5}
VARIANTS = {
    "ViT": ("vit_tiny_patch16_224", {}),
    "DINOv3": ("vit_small_patch16_dinov3", {}),
    "DINOv3 with biases": ("vit_small_patch16_dinov3_qkvb", {}),
    "DINOv3 with SwiGLU": ("vit_small_plus_patch16_dinov3", {}),
    "EVA": ("eva_giant_patch14_224", {}),
    "EVA-02": ("eva02_tiny_patch14_224", {}),
    "EVA-02 of CLIP": ("eva02_base_patch16_clip_224", {}),
    "rotary": ("vit_small_patch16_rope_224", {}),
    "rotary and absolute": ("vit_small_patch16_rope_ape_224", {}),
    "rotary by block": ("vit_small_patch16_rope_mixed_224", {}),
    "rotary by block, absolute": ("vit_small_patch16_rope_mixed_ape_224", {}),
    "rotary with a register": ("vit_medium_patch16_rope_reg1_gap_256", {}),
    "Perception Encoder": ("vit_pe_core_tiny_patch16_384", {}),
    "Perception Encoder without class": ("vit_pe_lang_large_patch14_448", {}),
    "BEiT": ("beit_base_patch16_224", {}),
    "BEiT with shared bias": ("beit_base_patch16_224", {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}),
    "BEiT with positions": ("beit_base_patch16_224", {"use_rel_pos_bias": False, "use_abs_pos_emb": True}),
    "BEiT v2": ("beitv2_base_patch16_224", {}),
    "NaFlex": ("naflexvit_base_patch16_gap", {"pos_embed_grid_size": (4, 6)}),
    "NaFlex of rows and columns": ("naflexvit_base_patch16_parfac_gap", {"pos_embed_grid_size": (4, 6)}),
    "NaFlex with a register": ("naflexvit_so150m2_patch16_reg1_gap", {"pos_embed_grid_size": (4, 6)}),
    "NaFlex with rotary positions": (
        "naflexvit_base_patch16_gap",
        {"pos_embed_grid_size": (4, 6), "rope_type": "axial", "attn_type": "eva", "class_token": True},
    ),
    "distilled DeiT": ("deit_tiny_distilled_patch16_224", {}),
}
SIDES = (32, 48)
GRID = (4, 6)


class Run(NamedTuple):
    """A sequence with all positions to the end, of which some tokens are looked at by none."""

    model: nn.Module
    sequence: torch.Tensor  # prefix, patches, and room for what is appended
    alive: torch.Tensor  # batch x all: who is looked at
    rows: torch.Tensor | None  # rotary rows of patches and room


def made(variant: str, sides=SIDES, **more) -> nn.Module:
    """A small random member in float64, all of whose parts count."""
    name, options = VARIANTS[variant]
    torch.manual_seed(0)
    model = timm.create_model(name, img_size=sides, **SIZES | options | more)
    return shaken(model).double().eval()


def images(sides=SIDES) -> torch.Tensor:
    return torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def start(model: nn.Module, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Prefix and patches as timm's first block has them, and the rotary rows of the patches."""
    if isinstance(model, Beit):
        tokens = model.patch_embed(pictures)
        tokens = torch.cat([model.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return model.pos_drop(tokens if model.pos_embed is None else tokens + model.pos_embed), None
    if hasattr(model, "embeds"):
        found = model._forward_embeds(pictures, None, None, None)
        return found["patches"], found["rope_embeds"]
    found = model._pos_embed(model.patch_embed(pictures))
    tokens, rows = found if isinstance(found, tuple) else (found, None)
    return model.norm_pre(tokens), rows


def begin(model: nn.Module, pictures: torch.Tensor, room: int) -> Run:
    sequence, rows = start(model, pictures)
    alive = torch.ones(sequence.shape[:2], dtype=torch.bool)
    if rows is not None:
        still = torch.cat([torch.zeros(room, rows.shape[-1] // 2), torch.ones(room, rows.shape[-1] // 2)], dim=-1)
        rows = torch.cat([rows, still.to(rows).expand(*rows.shape[:-2], -1, -1)], dim=-2)
    return Run(model, pad(sequence, (0, 0, 0, room)), pad(alive, (0, room)), rows)


def beit_bias(model: Beit, block: nn.Module, count: int) -> torch.Tensor:
    """The biases of all pairs, 0 for those with what is appended."""
    owners = [one for one in (model.rel_pos_bias, block.attn) if one is not None]
    owners = [one for one in owners if one.relative_position_bias_table is not None]
    whole = torch.zeros(block.attn.num_heads, count, count, dtype=torch.float64)
    for one in owners:
        index = one.relative_position_index
        whole[:, : len(index), : len(index)] += one.relative_position_bias_table[index].permute(2, 0, 1)
    return whole


def attend(attention: nn.Module, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """BEiT's attention, written down anew."""
    weights = attention.qkv.weight.unflatten(0, (3, attention.num_heads, -1))
    found = torch.einsum("bnd,qhed->qbhne", tokens, weights)
    if attention.q_bias is not None:
        found[0] += attention.q_bias.unflatten(0, (attention.num_heads, 1, -1))
        found[2] += attention.v_bias.unflatten(0, (attention.num_heads, 1, -1))
    query, key, value = found
    scores = query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5 + bias
    return attention.proj((attention.attn_drop(softmax(scores, dim=-1)) @ value).transpose(1, 2).flatten(2))


def step(run: Run, index: int) -> torch.Tensor:
    """What a block makes of the sequence, in which nobody looks at those that are not alive."""
    model, block = run.model, run.model.blocks[index]
    count, sequence = run.sequence.shape[1], run.sequence
    mask = torch.zeros(len(sequence), 1, count, count, dtype=torch.float64)
    mask.masked_fill_(~run.alive[:, None, None, :], -torch.inf)
    if isinstance(model, Beit):
        gammas = [1.0 if gamma is None else gamma for gamma in (block.gamma_1, block.gamma_2)]
        bias = beit_bias(model, block, count) + mask
        sequence = sequence + gammas[0] * attend(block.attn, block.norm1(sequence), bias)
        return sequence + gammas[1] * block.mlp(block.norm2(sequence))
    rows = {} if run.rows is None else {"rope": run.rows[index] if run.rows.ndim == 4 else run.rows}
    return block(sequence, attn_mask=mask, **rows)


def together(encoded) -> torch.Tensor:
    return torch.cat([encoded.prefix, encoded.tokens], dim=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_whole_images_are_timms(variant):
    model, pictures = made(variant), images()
    with torch.no_grad():
        expected = model.forward_features(pictures)
        torch.testing.assert_close(together(Encoder(model)(pictures)), expected, rtol=1e-5, atol=1e-5)
        reduced = pcae.reduce(model, drop_ratio=0.0)
        torch.testing.assert_close(reduced.forward_features(pictures), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(reduced(pictures), model(pictures), rtol=1e-5, atol=1e-5)
        maps = reduced.forward_intermediates(pictures, indices=[1, 3], intermediates_only=True)
        for ours, theirs in zip(
            maps, model.forward_intermediates(pictures, [1, 3], intermediates_only=True), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_grid_is_that_of_the_model_with_resized_positions(variant):
    """Of the encoder, which is told another grid; and of a model of another size that the weights are fitted to."""
    sides = (48, 32)
    model, pictures = made(variant), images(sides)
    options = {"pos_embed_grid_size": (6, 4)} if "pos_embed_grid_size" in VARIANTS[variant][1] else {}
    other = made(variant, sides, **options)
    if "rows and columns" in variant:
        with pytest.raises(ValueError, match="pos_embed_y is"):
            fit(other, model.state_dict(), GRID)
        return
    fit(other, model.state_dict(), GRID)
    with torch.no_grad():
        encoded = Encoder(model)(patchify(pictures, (8, 8)), torch.arange(24).expand(2, -1), (6, 4))
        torch.testing.assert_close(together(encoded), other.forward_features(pictures), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("with_prefix", [True, False], ids=["student", "teacher"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_part_of_the_patches_is_as_if_the_others_were_not_there(variant, with_prefix):
    model, pictures = made(variant), images()
    ids = torch.stack(
        [torch.randperm(24, generator=torch.Generator().manual_seed(row))[:9].sort()[0] for row in (0, 1)]
    )
    encoder, n_prefix = Encoder(model), model.num_prefix_tokens
    with torch.no_grad():
        run = begin(model, pictures, 0)
        run.alive[:, n_prefix:] = torch.zeros(2, 24, dtype=torch.bool).scatter(1, ids, value=True)
        run.alive[:, :n_prefix] &= with_prefix
        for index in range(4):
            run = run._replace(sequence=step(run, index))
        expected = gather(model.norm(run.sequence)[:, n_prefix:], ids)
        patches = gather(patchify(pictures, (8, 8)), ids)
        found = encoder(patches, ids, prefix=with_prefix)
        torch.testing.assert_close(found.tokens, expected, rtol=1e-5, atol=1e-5)
        assert found.prefix.shape[1] == (n_prefix if with_prefix else 0)
        every = encoder(patchify(pictures, (8, 8)), torch.arange(24).expand(2, -1), prefix=with_prefix)
        assert every.tokens.shape[1] == 24
        assert model.forward_features(pictures).isfinite().all()  # the model itself is as it was


@pytest.mark.parametrize("variant", VARIANTS)
def test_dropping_is_what_masking_gives(variant):
    """Stages after blocks 0, 1 and 2; the mean of what each drops stands at the end, and is looked at."""
    model, pictures = made(variant), images()
    reduction = Reduction(keep=0.7, after=(0, 1, 2), fold="append")
    reduced = pcae.reduce(model, 0.3)
    reduced.reduction = reduction
    with torch.no_grad():
        encoded = reduced.encode(pictures)
        n_prefix, run = model.num_prefix_tokens, begin(model, pictures, 3)
        for index in range(4):
            run = run._replace(sequence=step(run, index))
            if index < 3:
                stage, end = encoded.stages[index], n_prefix + 24 + index
                kept = torch.zeros(2, 24, dtype=torch.bool).scatter(1, stage.kept_ids, value=True)
                before, patches = (
                    run.alive[:, n_prefix : n_prefix + 24].clone(),
                    run.sequence[:, n_prefix : n_prefix + 24],
                )
                gone = (before & ~kept).unsqueeze(-1)
                run.sequence[:, end] = (patches * gone).sum(1) / gone.sum(1)
                run.alive[:, n_prefix : n_prefix + 24] &= kept
                run.alive[:, end] = True
        whole = model.norm(run.sequence)
        expected = torch.cat([whole[:, :n_prefix], gather(whole[:, n_prefix:], encoded.ids)], dim=1)
        torch.testing.assert_close(reduced.norm(encoded), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_every_parameter(variant):
    model = made(variant)
    reduced = pcae.reduce(model, drop_ratio=0.3)
    (reduced(images()) * torch.linspace(1, 2, 5)).sum().backward()
    without = {name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()}
    assert without == set()


@pytest.mark.parametrize("variant", ["DINOv3", "rotary by block", "BEiT"])
def test_blocks_that_are_computed_again_give_the_same_gradients(variant):
    """The backward pass computes them when the sequence has long been shorter."""
    gradients = []
    for again in (False, True):
        model = made(variant).train()
        encoder = Encoder(model)
        model.set_grad_checkpointing(again)
        ids = torch.arange(3, 24, 2).expand(2, -1)
        patches = gather(patchify(images(), (8, 8)), ids)
        reduction = Reduction(keep=0.5, after=(0, 2), fold="append")
        encoder(patches, ids, prefix=False, reduction=reduction).tokens.square().sum().backward()
        gradients.append([one.grad for one in model.blocks.parameters() if one.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_other_families_are_refused_by_name():
    with pytest.raises(ValueError, match=r"only timm's VisionTransformer, .* Eva, .* are supported, got Swin"):
        backbone_of(timm.create_model("swin_tiny_patch4_window7_224"))


def test_all_families_stand_in_the_table():
    assert {type(backbone_of(made(variant))) for variant in VARIANTS} == {*FAMILIES}


@pytest.mark.parametrize("variant", ["DINOv3", "BEiT"])
def test_the_model_itself_may_be_run_meanwhile(variant):
    """By another thread, and with other positions: nothing of it is changed."""
    model, pictures = made(variant), images()
    reduced, encoder = pcae.reduce(model, drop_ratio=0.3), Encoder(model)
    patches, ids = patchify(pictures, (8, 8))[:, 3:12], torch.arange(3, 12).expand(2, -1)
    ways = {
        "model": lambda: model(pictures),
        "reduced": lambda: reduced(pictures),
        "teacher": lambda: encoder(patches, ids, prefix=False).tokens,
    }
    with torch.inference_mode():
        expected = {name: way() for name, way in ways.items()}

        def same(name: str) -> bool:
            with torch.inference_mode():
                return all(torch.equal(ways[name](), expected[name]) for _ in range(30))

        with ThreadPoolExecutor(3) as threads:
            assert all(threads.map(same, [*ways, *ways]))


def test_random_rotary_coordinates_are_drawn_once_a_pass():
    model = made("DINOv3", rope_shift_coords=0.5).train()
    seen: list[torch.Tensor] = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _, args, named: seen.append(named["rope"]), with_kwargs=True)
    reduced = pcae.reduce(model, drop_ratio=0.3, fold="append")
    stages = reduced.encode(images()).stages
    first, second = seen[0], seen[1]  # 24 rows of all images, then those that were kept of each, and the mean's
    assert second.shape[-2] == stages[0].kept_ids.shape[1] + 1
    for row, kept in enumerate(stages[0].kept_ids):
        torch.testing.assert_close(second[row, 0, :-1], first[kept])


def test_a_model_that_drops_patches_at_random_is_refused():
    for variant in ("DINOv3", "NaFlex"):
        reduced = pcae.reduce(made(variant, patch_drop_rate=0.5).train(), drop_ratio=0.3)
        with pytest.raises(ValueError, match="use patch_drop_rate 0"):
            reduced(images())


def test_what_holds_a_model_is_said():
    model = made("ViT")
    for holder, part in ((nn.DataParallel(model), ".module"), (pcae.reduce(model, 0.1), ".vit")):
        with pytest.raises(ValueError, match=f"give what it holds: {part}"):
            pcae.reduce(holder, 0.3)
