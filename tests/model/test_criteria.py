"""Criteria on made-up tokens for which the right answer is known by construction."""

import pytest
import torch

from pcae.model.backbones.backbone import Call
from pcae.model.blocks import attention_map
from pcae.model.criteria import leverage, named_criterion, saliency, token_importance
from pcae.model.encoder import Encoder
from pcae.model.reduced import reduce
from pcae.model.reduction import Reduction, Seen, select
from tests.model.test_reduction import look, no_attention


def test_what_others_explain_goes_first_by_decomposition():
    """Six copies of one direction and of their scaled selves, two mixtures of others, and three that stand alone."""
    axes = torch.eye(8)
    copies = torch.stack([axes[0] * scale for scale in (1.0, 2.0, 0.5, 1.5, 1.0, 1.0)])
    alone = axes[2:5]
    tokens = torch.cat([copies, alone])[None]
    assert select(look(tokens, 3), leverage).places.tolist() == [[6, 7, 8]]
    scores = -leverage(look(tokens, 4))[0]
    torch.testing.assert_close(scores[6:], torch.ones(3), rtol=0, atol=1e-3)  # nothing else explains them
    torch.testing.assert_close(scores[:6].sum(), torch.tensor(1.0), rtol=0, atol=1e-3)  # one direction between six


def test_a_token_that_is_the_sum_of_two_others_shares_their_leverage():
    """Three tokens in a plane: the hat matrix of [e1, e2, e1 + e2] has 2/3 on its diagonal."""
    axes = torch.eye(4)
    tokens = torch.stack([axes[0], axes[1], axes[0] + axes[1]])[None]
    torch.testing.assert_close(-leverage(look(tokens, 2))[0], torch.full((3,), 2 / 3), rtol=0, atol=1e-4)


def test_leverage_by_its_definition():
    """l_i = x_i (X^T X + ridge I)^-1 x_i^T, ridge = the energy beyond the best rank n_keep, over n_keep."""
    tokens = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for image, scores in zip(tokens, -leverage(look(tokens, 3)), strict=True):
        values = torch.linalg.eigvalsh(image.T @ image).flip(0)
        inverse = torch.linalg.inv(image.T @ image + values[3:].sum() / 3 * torch.eye(5))
        torch.testing.assert_close(scores, (image @ inverse * image).sum(dim=1), rtol=1e-6, atol=1e-6)


def with_attention(weights: torch.Tensor, n_prefix: int) -> Seen:
    tokens = torch.zeros(1, weights.shape[-1] - n_prefix, 4)
    ids = torch.arange(tokens.shape[1])[None]
    return Seen(tokens, 2, ids, attention=lambda: weights, n_prefix=n_prefix)


def test_tokens_that_get_most_attention_stay():
    """The class token, which attends to patch 2 alone, has no say in the importance of patches, and all in saliency."""
    weights = torch.tensor(
        [[
            [0.0, 0.0, 0.1, 0.9, 0.0],
            [0.0, 0.5, 0.2, 0.0, 0.3],
            [0.0, 0.5, 0.2, 0.0, 0.3],
            [0.0, 0.5, 0.2, 0.0, 0.3],
            [0.0, 0.5, 0.2, 0.0, 0.3],
        ]]
    )  # fmt: skip
    assert select(with_attention(weights, 1), token_importance).places.tolist() == [[0, 3]]
    assert select(with_attention(weights, 1), saliency).places.tolist() == [[1, 2]]


def test_saliency_without_a_class_token_is_refused():
    with pytest.raises(ValueError, match="needs a model with a class token"):
        saliency(with_attention(torch.rand(1, 5, 5), 0))
    with pytest.raises(ValueError, match="needs a model with a class token"):  # one register
        saliency(with_attention(torch.rand(1, 5, 5), 1)._replace(class_token=False))


def test_a_register_is_no_class_token_through_reduce():
    import timm

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 3}
    for name, whole in (("vit_medium_patch16_reg1_gap_256", False), ("vit_base_patch14_reg4_dinov2", True)):
        faster = reduce(timm.create_model(name, **sizes).eval(), 0.3, "saliency")
        if whole:
            faster(torch.zeros(1, 3, 32, 32))
            continue
        with pytest.raises(ValueError, match="needs a model with a class token"):
            faster(torch.zeros(1, 3, 32, 32))


def test_the_attention_map_is_the_blocks_own(encoder: Encoder):
    """What it averages, times the block's values, is what the block's attention gives before its projection."""
    block = encoder.vit.blocks[0].double()
    sequence = torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = attention_map(Call(), 0, block, sequence)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 7, dtype=torch.float64))
    heads = []
    query, key, value = block.attn.qkv(block.norm1(sequence)).chunk(3, dim=-1)
    for head in range(2):
        part = slice(head * 12, head * 12 + 12)
        heads.append((query[..., part] @ key[..., part].transpose(1, 2) / 12**0.5).softmax(dim=-1))
    torch.testing.assert_close(weights, torch.stack(heads).mean(dim=0))
    mixed = torch.cat([heads[head] @ value[..., head * 12 : head * 12 + 12] for head in range(2)], dim=-1)
    torch.testing.assert_close(block.attn.proj(mixed), block.attn(block.norm1(sequence)))


def test_random_keeps_what_a_uniform_draw_would():
    """Each of 12 tokens is kept about equally often, and each of the 66 pairs too: chi-squared below its 99.99 %."""
    noise = torch.rand(6000, 12, generator=torch.Generator().manual_seed(0))
    criterion = named_criterion("random", lambda: noise)
    ids = torch.arange(12).expand(6000, -1)
    kept = select(Seen(torch.zeros(6000, 12, 1), 4, ids, no_attention), criterion).places
    chosen = torch.zeros(6000, 12).scatter(1, kept, 1.0)
    expected = 6000 * 4 / 12
    chi_squared = (chosen.sum(dim=0) - expected).square().sum() / (expected * 8 / 12)
    assert chi_squared < 38  # 11 degrees of freedom
    pairs = (chosen.T @ chosen).triu(diagonal=1)[torch.ones(12, 12).triu(diagonal=1).bool()]
    expected = 6000 * 4 * 3 / (12 * 11)
    assert ((pairs - expected).abs() < 5 * expected**0.5).all()


def test_random_looks_at_no_token_and_goes_by_the_position(encoder: Encoder, images, random):
    """Stage after stage, the kept positions are those of lowest noise among the ones that were left."""
    noise = torch.rand(4, 24, generator=torch.Generator().manual_seed(0))
    reduction = Reduction(keep=0.5, after=(0, 2), criterion=named_criterion("random", lambda: noise))
    ids = torch.arange(24).expand(4, -1)
    stages = encoder(torch.zeros(4, 24, 192), ids, (4, 6), prefix=False, reduction=reduction).stages
    for n_keep, stage in zip((12, 6), stages, strict=True):
        assert stage.kept_ids.tolist() == noise.topk(n_keep, largest=False).indices.sort().values.tolist()


@pytest.mark.parametrize("name", ["mean-similarity", "random", "token-importance", "saliency", "decomposition"])
def test_every_criterion_serves_the_encoder(encoder: Encoder, name):
    noise = torch.rand(4, 24)
    reduction = Reduction(keep=0.5, after=(0, 2, 4), criterion=named_criterion(name, lambda: noise))
    encoded = encoder(torch.randn(4, 24, 192), torch.arange(24).expand(4, -1), (4, 6), reduction=reduction)
    assert encoded.ids.shape == (4, 3) and encoded.prefix.shape[1] == 1
