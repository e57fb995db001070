"""Criteria that look at attention, in every family: what they see is what the blocks do."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import linear

import pcae
from pcae.model.backbones import backbone_of
from pcae.model.reduction import Reduction, count_kept
from pcae.model.tokens import gather
from tests.model.test_backbones import GRID, SIZES, VARIANTS, begin, images, made, step
from tests.weights.tiny import shaken

GROUPED = {"attn_type": "rope", "num_kv_heads": 1, "qkv_fused": False}
MORE = {
    "DeiT III": ("deit3_small_patch16_224", {}),
    "norms of queries and keys": ("vit_medium_patch16_rope_reg1_gap_256", {"qk_norm": True}),
    "queries that share keys": ("vit_small_patch16_dinov3", GROUPED),
    "EVA with norms afterwards": ("eva02_tiny_patch14_224", {"use_post_norm": True}),
    "gated": ("naflexvit_base_patch16_gap", {"pos_embed_grid_size": GRID, "attn_gated": True}),
}


def member(variant: str) -> nn.Module:
    """A small random member in float64, all of whose parts count."""
    if variant in VARIANTS:
        return made(variant)
    name, options = MORE[variant]
    torch.manual_seed(0)
    return shaken(timm.create_model(name, img_size=(32, 48), **SIZES | options)).double().eval()


@contextmanager
def overheard(model: nn.Module, part: str) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """What enters and leaves the parts of that name, in the order in which it does."""
    heard: list[tuple[torch.Tensor, torch.Tensor]] = []
    named = [one for name, one in model.named_modules() if name.endswith(part)]
    hooks = [one.register_forward_hook(lambda _, given, made: heard.append((given[0], made))) for one in named]
    yield heard
    for hook in hooks:
        hook.remove()


def values(attention: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Values by head, written down anew."""
    if attention.qkv is None:
        made = attention.v_proj(tokens)
    else:
        rows = slice(2 * len(attention.qkv.weight) // 3, None)
        own = getattr(attention, "v_bias", None) if attention.qkv.bias is None else attention.qkv.bias[rows]
        made = linear(tokens, attention.qkv.weight[rows], own)
    by_head = made.unflatten(-1, (-1, SIZES["embed_dim"] // attention.num_heads)).transpose(1, 2)
    return by_head.repeat_interleave(attention.num_heads // by_head.shape[1], dim=1)


def finished(attention: nn.Module, mixed: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """What an attention makes of the values that it has mixed."""
    joined = mixed.transpose(1, 2).flatten(2)
    joined = joined if getattr(attention, "norm", None) is None else attention.norm(joined)
    gate = getattr(attention, "gate", None)
    return attention.proj(joined if gate is None else joined * gate(tokens).sigmoid())


@pytest.mark.parametrize("variant", [*VARIANTS, *MORE])
def test_the_map_times_the_values_is_what_the_block_attends_to(variant):
    """Of a part of the patches, at places of their own in each image, and two that were appended."""
    model = member(variant)
    backbone, generator = backbone_of(model), torch.Generator().manual_seed(3)
    ids = torch.stack([torch.randperm(24, generator=generator)[:7].sort()[0] for _ in range(2)])
    for n_prefix in {0, model.num_prefix_tokens}:
        sequence = torch.randn(2, n_prefix + 7 + 2, 48, generator=generator, dtype=torch.float64)
        call = backbone.calling(GRID)(ids, n_prefix, 2)
        for index in (0, 3):
            block = model.blocks[index]
            with torch.no_grad(), overheard(block, "attn") as heard:
                call(index, block, sequence)
                weights = call.attention(index, block, sequence)
                [(tokens, attended)] = heard
                mixed = weights @ values(block.attn, tokens)
                torch.testing.assert_close(finished(block.attn, mixed, tokens), attended, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["token-importance", "saliency"])
@pytest.mark.parametrize("variant", [*VARIANTS, *MORE])
def test_tokens_that_get_least_attention_go(variant, name):
    """As where timm's own unfused attention is overheard, while none looks at what was dropped."""
    model = member(variant)
    reduced = pcae.reduce(model, 0.3, name)
    if name == "saliency" and not backbone_of(model).has_class_token:
        with pytest.raises(ValueError, match="needs a model with a class token"):
            reduced(images())
        return
    reduced.reduction = Reduction(keep=0.7, after=(0, 1, 2), fold="append", criterion=reduced.reduction.criterion)
    with torch.no_grad():
        encoded = reduced.encode(images())
        whole, kept = by_masks(copy.deepcopy(model), name)
    for stage, expected in zip(encoded.stages, kept, strict=True):
        assert stage.kept_ids.tolist() == expected.tolist()
    expected = gather(whole[:, model.num_prefix_tokens :], encoded.ids)
    torch.testing.assert_close(encoded.tokens, expected, rtol=1e-5, atol=1e-5)


def by_masks(model: nn.Module, name: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """All tokens after the last block, and which patches were kept at each stage."""
    for block in model.blocks:
        block.attn.fused_attn = False
    first, chosen, run = model.num_prefix_tokens, [], begin(model, images(), 3)
    patches = slice(first, first + 24)
    for index in range(4):
        with overheard(model.blocks[index], "attn_drop") as heard:
            run = run._replace(sequence=step(run, index))
        if index == 3:
            break
        alive, weights = run.alive[:, patches].clone(), heard[0][0].mean(dim=1)
        seen = weights[:, 0] if name == "saliency" else (weights * run.alive[..., None])[:, patches].sum(dim=1)
        seen = seen[:, patches].masked_fill(~alive, -torch.inf)
        chosen.append(seen.topk(count_kept(int(alive[0].sum()), 0.7), dim=1).indices.sort(dim=1).values)
        run.alive[:, patches] = torch.zeros_like(alive).scatter(1, chosen[-1], value=True)
        gone = (alive & ~run.alive[:, patches]).unsqueeze(-1)
        run.sequence[:, first + 24 + index] = (run.sequence[:, patches] * gone).sum(dim=1) / gone.sum(dim=1)
        run.alive[:, first + 24 + index] = True
    return run.sequence, chosen


def test_norms_after_a_vision_transformers_attention():
    from timm.models.vision_transformer import ResPostBlock

    model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 48), block_fn=ResPostBlock, **SIZES)
    block = shaken(model).double().blocks[0]
    sequence = torch.randn(1, 5, 48, dtype=torch.float64)
    weights = backbone_of(model).calling(GRID)(torch.arange(5)[None], 0, 0).attention(0, block, sequence)
    mixed = weights @ values(block.attn, sequence)
    torch.testing.assert_close(finished(block.attn, mixed, sequence), block.attn(sequence))


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("vit_small_patch16_18x2_224", "vision_transformer.ParallelThingsBlock"),
        ("vit_dlittle_patch16_reg1_gap_256", "diff_attention.DiffAttention"),
        ("vit_dpwee_patch16_reg1_gap_256", "vision_transformer.DiffParallelScalingBlock"),
    ],
)
def test_blocks_without_one_attention_are_refused_by_name(name, odd):
    sizes = SIZES | {"embed_dim": 64, "num_heads": 2}
    reduced = pcae.reduce(timm.create_model(name, img_size=32, **sizes).eval(), 0.3, "token-importance")
    with pytest.raises(ValueError, match=rf"{odd} does not have .* use mean-similarity, .* such as vit_base_patch16"):
        reduced(torch.zeros(1, 3, 32, 32))
    pcae.reduce(reduced.vit, 0.3)(torch.zeros(1, 3, 32, 32))
