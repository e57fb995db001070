"""Which tokens go, and what becomes of them: every rule against its definition written out, one image at a time."""

import math
from itertools import product
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pcae
from pcae.model.criteria import bipartite, most_dropped, stage_counts
from pcae.model.folding import margin, merge
from pcae.model.pretrained import PretrainedFacts
from pcae.model.reduction import Reduction, Seen, Selection, select
from pcae.settings.choices import FoldName
from pcae.settings.trained import TRAINING_FREE, Rule
from tests.model.test_encoder import make_vit

PREFIXES = {"cls": {}, "none": {"class_token": False, "global_pool": "avg"}}
CRITERIA = ("mean-similarity", "token-importance", "decomposition", "bipartite")
RULES = list(product(CRITERIA, get_args(FoldName)))


def cosine(one, other):
    """Of two vectors."""
    return float(one @ other / (one.norm() * other.norm()))


def written_out(vit, images, *, after, drop_ratio, criterion, fold, before_mlp):
    """Logits of one image by the definitions, with lists of tokens: scores, sets, folds and sizes by hand."""
    n_prefix = vit.num_prefix_tokens
    rows = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))[0]
    prefix, tokens, means, sizes, counts = [*rows[:n_prefix]], [*rows[n_prefix:]], [], None, []
    sizes = [1.0] * len(tokens)

    def attend(block, rows):
        """What attention adds, its map averaged over heads, and the keys averaged over heads."""
        attention, normed = block.attn, block.norm1(rows)
        query, key, value = (
            part.unflatten(-1, (attention.num_heads, -1)).transpose(0, 1) for part in attention.qkv(normed).chunk(3, -1)
        )
        scores = query @ key.transpose(-2, -1) * attention.head_dim**-0.5
        if fold == "merge":
            whole = torch.tensor([1.0] * n_prefix + sizes + [1.0] * len(means), dtype=rows.dtype)
            scores = scores + whole.log()
        out = attention.proj((scores.softmax(-1) @ value).transpose(0, 1).flatten(1))
        return out, scores.softmax(-1).mean(0), key.mean(0)

    def reduced(tokens, sizes, attention, keys):
        n_keep = math.floor(len(tokens) * (1 - drop_ratio) + 1e-9)
        if n_keep == len(tokens):
            return tokens, sizes, means
        own = keys[n_prefix : n_prefix + len(tokens)]
        fixed = [(place + n_prefix) % 2 == 1 for place in range(len(tokens))] if criterion == "bipartite" else []
        if criterion == "mean-similarity":
            mean = sum(tokens) / len(tokens)
            scores = [cosine(token, mean) for token in tokens]
        elif criterion == "token-importance":
            scores = [
                -float(attention[n_prefix : n_prefix + len(tokens), n_prefix + i].mean()) for i in range(len(tokens))
            ]
        elif criterion == "decomposition":
            rows = torch.stack(tokens)
            energy = torch.linalg.svdvals(rows).square()
            ridge = energy[n_keep:].sum() / n_keep
            gram = rows @ torch.linalg.inv(rows.T @ rows + ridge * torch.eye(rows.shape[1], dtype=rows.dtype)) @ rows.T
            scores = (-gram.diagonal()).tolist()
        else:
            others = [place for place in range(len(tokens)) if fixed[place]]
            scores = [
                -math.inf if fixed[i] else max(cosine(own[i], own[j]) for j in others) for i in range(len(tokens))
            ]
        kept = sorted(sorted(range(len(tokens)), key=scores.__getitem__)[:n_keep])
        dropped = [place for place in range(len(tokens)) if place not in kept]
        if fold in ("append", "pool"):
            counts.append(len(dropped))
            return [tokens[i] for i in kept], [1.0] * n_keep, [*means, sum(tokens[i] for i in dropped) / len(dropped)]
        if fold == "leave":
            return [tokens[i] for i in kept], [1.0] * n_keep, means
        into = {place: [place] for place in kept}
        for place in dropped:
            able = [i for i in kept if not fixed or fixed[i]]
            into[max(able, key=lambda i: cosine(own[place], own[i]))].append(place)
        together = [sum(sizes[i] for i in into[place]) for place in kept]
        merged = [sum(sizes[i] * tokens[i] for i in into[p]) / n for p, n in zip(kept, together, strict=True)]
        return merged, together, means

    for index, block in enumerate(vit.blocks):
        rows = torch.stack([*prefix, *tokens, *means])
        added, attention, keys = attend(block, rows)
        rows = rows + added
        steps = ["stage", "mlp"] if before_mlp else ["mlp", "stage"]
        for step in steps:
            if step == "mlp":
                rows = rows + block.mlp(block.norm2(rows))
            elif index in after:
                split = n_prefix + len(tokens)
                prefix, tokens, means = [*rows[:n_prefix]], [*rows[n_prefix:split]], [*rows[split:]]
                tokens, sizes, means = reduced(tokens, sizes, attention, keys)
                rows = torch.stack([*prefix, *tokens, *means])
        split = n_prefix + len(tokens)
        prefix, tokens, means = [*rows[:n_prefix]], [*rows[n_prefix:split]], [*rows[split:]]
    normed = vit.norm(torch.stack([*prefix, *tokens]))
    if vit.global_pool == "avg" and fold in ("pool", "merge"):
        rest = vit.norm(torch.stack(means)) if means else torch.zeros(0, normed.shape[1], dtype=normed.dtype)
        weights = torch.tensor([*sizes, *counts], dtype=normed.dtype)
        normed = (torch.cat([normed[n_prefix:], rest]) * weights[:, None]).sum(0, keepdim=True) / weights.sum()
        normed = torch.cat([vit.norm(torch.stack(prefix)), normed]) if prefix else normed
    return vit.forward_head(normed[None])


@pytest.mark.parametrize("kind", PREFIXES)
@pytest.mark.parametrize("before_mlp", [False, True])
@pytest.mark.parametrize(("criterion", "fold"), RULES)
def test_a_rule_is_its_definition_written_out(kind, before_mlp, criterion, fold):
    pooled = {"global_pool": "avg"} if fold == "pool" else {}  # a class token averages nothing
    vit = make_vit(**PREFIXES[kind] | pooled).double().eval()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    rule = {"criterion": criterion, "fold": fold, "after": (0, 2, 3), "before_mlp": before_mlp, "drop_ratio": 0.4}
    with torch.no_grad():
        torch.testing.assert_close(pcae.reduce(vit, **rule)(images), written_out(vit, images, **rule))


@pytest.mark.parametrize(("criterion", "fold"), RULES)
def test_without_dropping_every_rule_is_the_model(criterion, fold):
    vit, images = make_vit(global_pool="avg").eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(pcae.reduce(vit, 0.0, criterion, fold)(images), vit(images))


@given(st.integers(2, 40), st.integers(0, 3), st.integers(0, 2**20), st.data())
def test_merging_loses_no_token(n_tokens, n_prefix, seed, data):
    """Sizes sum to what there was, and so do tokens times sizes; kept places ascend."""
    draw = torch.Generator().manual_seed(seed)
    tokens, keys = torch.randn(2, n_tokens, 5, generator=draw), torch.randn(2, n_tokens, 4, generator=draw)
    least = (n_tokens + n_prefix % 2) // 2
    n_keep = data.draw(st.integers(max(1, least), n_tokens))
    seen = Seen(tokens, n_keep, torch.arange(n_tokens).expand(2, -1), lambda: keys, n_prefix, True, lambda: keys)
    selection = select(seen, bipartite)
    sizes = torch.randint(1, 9, (2, n_tokens), generator=draw).float()
    merged = merge(tokens, sizes, selection, lambda: keys)
    assert (selection.places.diff(dim=1) > 0).all() and selection.places.shape[1] == n_keep
    assert (merged.sizes.gather(1, torch.arange(n_keep).expand(2, -1)) >= sizes.gather(1, selection.places)).all()
    torch.testing.assert_close(merged.sizes.sum(1), sizes.sum(1))
    torch.testing.assert_close(
        (merged.tokens * merged.sizes[..., None]).sum(1), (tokens * sizes[..., None]).sum(1), atol=1e-4, rtol=1e-4
    )


def test_twins_merge_without_a_difference():
    """A token that another repeats may go: with proportional attention the network does not see it."""
    tokens = torch.randn(1, 4, 8)
    tokens[:, 2] = tokens[:, 1]
    scores = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    merged = merge(tokens, torch.ones(1, 4), Selection(torch.tensor([[0, 1, 3]]), scores), lambda: tokens)
    torch.testing.assert_close(merged.tokens, tokens[:, [0, 1, 3]])
    assert merged.sizes.tolist() == [[1, 2, 1]]


@given(st.integers(2, 9), st.data())
def test_the_margin_of_a_merge_is_its_best_cosine_less_the_next(count, data):
    keys = torch.randn(2, count, 5, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    scores = torch.rand(2, count, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    scores[:, :2] = -torch.inf if data.draw(st.booleans()) else scores[:, :2]
    places = scores.argsort()[:, : data.draw(st.integers(2, count))].sort().values
    expected = []
    for key, score, kept in zip(keys, scores, places.tolist(), strict=True):
        takes = [j for j in kept if score[j] == -math.inf] if -math.inf in score.tolist() else kept
        ranked = [sorted(cosine(key[i], key[j]) for j in takes) for i in range(count) if i not in kept]
        expected.append(min([near[-1] - near[-2] for near in ranked], default=math.inf))
    found = margin(keys, Selection(places, scores))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype))


def test_bipartite_drops_at_most_every_second_token():
    with pytest.raises(ValueError, match=r"at most every second token, not 12 of 16.* ratio of 0\.5 at most"):
        pcae.reduce(make_vit(), 0.75, "bipartite", "merge")(torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize("n_prefix", [0, 1, 2])
@pytest.mark.parametrize(("side", "stages"), [(7, 3), (4, 3), (3, 2), (14, 3), (14, 11), (2, 1)])
def test_the_most_that_matching_is_said_to_drop_is_what_it_can(side, stages, n_prefix):
    """Against the criterion itself, stage by stage: every ratio up to it runs, and the next hundredth does not."""

    def runs(ratio):
        ids = torch.arange(side**2)[None]
        for _ in range(stages):
            keys, n_keep = torch.randn(1, ids.shape[1], 4), math.floor(ids.shape[1] * (1 - ratio) + 1e-9)
            try:
                assert n_keep
                seen = Seen(keys, n_keep, ids, keys.clone, n_prefix, True, keys.clone)
                ids = ids.gather(1, select(seen, bipartite).places)
            except (ValueError, AssertionError):
                return False
        return True

    reduction = Reduction(keep=0.4, after=tuple(range(stages)), criterion=bipartite)
    most = most_dropped(side**2, reduction, n_prefix)
    assert all(runs(step / 100) for step in range(round(100 * most) + 1)) and not runs(most + 0.01)
    with pytest.raises(ValueError, match=f"drop ratio of {most:g} at most|leaves none|use fewer stages"):
        stage_counts(side**2, reduction, n_prefix)


def test_shares_may_differ_by_stage():
    reduced = pcae.reduce(make_vit(), (0.25, 0.5), after=(1, 3))
    stages = reduced.encode(torch.randn(1, 3, 32, 32)).stages
    assert [(stage.block, stage.kept_ids.shape[1]) for stage in stages] == [(1, 12), (3, 6)]
    for wrong, words in [
        ({"after": (0, 9)}, r"\[9\]"),
        ({"drop_ratio": (0.1, 0.2)}, r"needs these: after=\(0, 7, 10\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            pcae.reduce(make_vit(), **({"drop_ratio": 0.3} | wrong))
    with pytest.raises(ValueError, match="2 shares for 3 stages"):
        pcae.reduce(make_vit(), (0.1, 0.2), after=(0, 1, 2))


def test_gradients_come_through_merged_tokens():
    vit = make_vit().train()
    pcae.reduce(vit, 0.4, "bipartite", "merge", before_mlp=True)(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in vit.parameters())


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ({"drop_ratio": 0.3}, {"criterion": "bipartite", "fold": "merge"}),
        ({"drop_ratio": 0.6, "after": (1,)}, {"criterion": "mean-similarity", "fold": "merge"}),
        ({"drop_ratio": 0.3, "fold": "append"}, {"criterion": "mean-similarity"}),
        ({"drop_ratio": 0.3, "criterion": "token-importance"}, {"fold": "merge"}),
        ({"drop_ratio": (0.2, 0.6), "after": (0, 2)}, {"criterion": "mean-similarity", "fold": "merge"}),
    ],
)
def test_where_nobody_says_matched_tokens_are_merged_and_means_belong_to_similarity(asked, same):
    vit, images = make_vit(), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(
        pcae.reduce(vit, **asked)(images), pcae.reduce(vit, **(asked | same))(images), rtol=0, atol=0
    )


def test_weights_that_dropped_nothing_in_training_take_the_rule_that_loses_least():
    own = Rule(criterion="saliency", fold="append", after=(1,))
    assert PretrainedFacts.rule == TRAINING_FREE == Rule(criterion="bipartite", fold="merge")
    assert TRAINING_FREE.but({"fold": "pool"}) == Rule(fold="pool")
    assert TRAINING_FREE.but({"criterion": "random"}) == Rule(criterion="random", fold="merge")
    assert TRAINING_FREE.but({"criterion": "bipartite", "fold": "append"}) == Rule(criterion="bipartite")
    assert own.but({"fold": "merge"}) == Rule(criterion="saliency", fold="merge", after=(1,))
