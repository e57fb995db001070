import pytest
import timm
import torch

import pcae
from tests.model.test_encoder import make_vit

POOLS = {
    "cls": {},
    "cls, average": {"global_pool": "avg"},
    "registers": {"reg_tokens": 3},
    "registers, average": {"reg_tokens": 3, "global_pool": "avg"},
    "no prefix, average": {"class_token": False, "global_pool": "avg"},
    "map": {"class_token": False, "global_pool": "map"},
}


@pytest.mark.parametrize("kind", POOLS)
def test_at_drop_ratio_zero_logits_are_timms(kind):
    vit, images = make_vit(**POOLS[kind]), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(pcae.reduce(vit, drop_ratio=0.0)(images), vit(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", POOLS)
def test_appended_means_leave_before_pooling(kind):
    vit = make_vit(**POOLS[kind])
    reduced = pcae.reduce(vit, drop_ratio=0.4)
    with torch.no_grad():
        features = reduced.forward_features(torch.randn(2, 3, 32, 32))
        assert features.shape[1] == vit.num_prefix_tokens + 3  # 16 -> 9 -> 5 -> 3, after blocks 0, 2, 3
        torch.testing.assert_close(reduced.forward_head(features), vit.forward_head(features))


def test_the_model_is_held_not_patched():
    vit = make_vit()
    before = {name: id(module) for name, module in vit.named_modules()}
    reduced = pcae.reduce(vit, drop_ratio=0.3)
    assert reduced.vit is vit and {name: id(module) for name, module in vit.named_modules()} == before


def test_other_families_are_refused_by_name():
    with pytest.raises(ValueError, match="got Cait"):
        pcae.reduce(timm.create_model("cait_xxs24_224", depth=1), drop_ratio=0.2)


@pytest.mark.parametrize("kind", ["cls", "registers, average", "no prefix, average"])
def test_logits_are_those_of_section_3_4_written_out(kind):
    """Each stage: the least similar to the mean stay, the mean of the others is appended and is never ranked again."""
    vit = make_vit(**POOLS[kind]).double()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    n_prefix = vit.num_prefix_tokens
    with torch.no_grad():
        sequence = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))[0]
        tokens, others = [*sequence[n_prefix:]], []
        for index, block in enumerate(vit.blocks):
            out = block(torch.stack([*sequence[:n_prefix], *tokens, *others])[None])[0]
            sequence, tokens, others = (
                out[:n_prefix],
                [*out[n_prefix:][: len(tokens)]],
                [*out[n_prefix + len(tokens) :]],
            )
            if index in (0, 2, 3):
                mean = sum(tokens) / len(tokens)
                alike = [float(t @ mean / (t.norm() * mean.norm())) for t in tokens]
                kept = sorted(sorted(range(len(tokens)), key=alike.__getitem__)[: int(len(tokens) * 0.6)])
                dropped = [tokens[place] for place in range(len(tokens)) if place not in kept]
                others.append(sum(dropped) / len(dropped))
                tokens = [tokens[place] for place in kept]
        features = vit.norm(torch.stack([*sequence[:n_prefix], *tokens])[None])
        assert len(tokens) == 3 and len(others) == 3
        reduced = pcae.reduce(vit, drop_ratio=0.4, fold="append")
        torch.testing.assert_close(reduced(images), vit.forward_head(features))


def test_tokens_dropped_at_random_cost_the_same_and_are_others():
    vit, images = make_vit(**POOLS["cls"]).eval(), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        similar = pcae.reduce(vit, drop_ratio=0.4).encode(images)
        first, again = (pcae.reduce(vit, drop_ratio=0.4, criterion="random").encode(images) for _ in range(2))
    assert first.ids.shape == similar.ids.shape and not torch.equal(first.ids, similar.ids)
    torch.testing.assert_close(first.ids, again.ids)
    assert len(first.ids.unique(dim=0)) == 4  # each image loses its own


@pytest.mark.parametrize("kind", ["cls, average", "registers, average", "no prefix, average"])
def test_a_dropped_token_that_is_pooled_weighs_as_much_as_one_that_stays(kind):
    """16 -> 9 -> 5 -> 3 tokens: the appended means stand for 7, 4 and 2."""
    vit = make_vit(**POOLS[kind]).double()
    reduced = pcae.reduce(vit, drop_ratio=0.4, pool_dropped=True)
    with torch.no_grad():
        images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
        found = reduced.encode(images)
        left, (first, second, third) = vit.norm(found.tokens), vit.norm(found.appended).unbind(1)
        mean = (left.sum(dim=1) + 7 * first + 4 * second + 2 * third) / 16
        torch.testing.assert_close(reduced(images), vit.head(vit.fc_norm(mean)))


def test_an_average_that_takes_the_prefix_in_weighs_it_as_one_token_each():
    vit = make_vit(global_pool="avg", reg_tokens=2, pool_include_prefix=True, fc_norm=False).double()
    reduced, images = pcae.reduce(vit, drop_ratio=0.4, fold="pool"), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        found = reduced.encode(images)
        first, second, third = vit.norm(found.appended).unbind(1)
        whole = vit.norm(torch.cat([found.prefix, found.tokens], dim=1)).sum(dim=1)
        mean = (whole + 7 * first + 4 * second + 2 * third) / (16 + found.prefix.shape[1])
        torch.testing.assert_close(reduced(images), vit.head(mean))


def test_at_drop_ratio_zero_there_is_nothing_else_to_pool():
    vit, images = make_vit(**POOLS["cls, average"]), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(pcae.reduce(vit, drop_ratio=0.0, pool_dropped=True)(images), vit(images))


@pytest.mark.parametrize("kind", ["cls", "map"])
def test_what_is_not_averaged_cannot_pool_dropped_tokens(kind):
    with pytest.raises(ValueError, match="needs a classifier that averages its patch tokens"):
        pcae.reduce(make_vit(**POOLS[kind]), drop_ratio=0.2, pool_dropped=True)
