import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcae.model.folding import mean_of_dropped
from pcae.model.reduction import (
    Reduction,
    Seen,
    count_kept,
    kept_counts,
    mean_similarity,
    placed,
    select,
)
from pcae.model.tokens import gather


def look(tokens: torch.Tensor, n_keep: int) -> Seen:
    """A sequence that stands alone, of which `n_keep` tokens will stay."""
    return Seen(tokens, n_keep, torch.arange(tokens.shape[1]).expand(len(tokens), -1), attention=no_attention)


def no_attention() -> torch.Tensor:
    raise AssertionError("this criterion looks at no attention")


def reference_scores(tokens: np.ndarray) -> np.ndarray:
    """Eq. 3 for one image, written out in float64."""
    mean = tokens.mean(axis=0)
    return tokens @ mean / (np.linalg.norm(tokens, axis=1) * np.linalg.norm(mean))


@given(st.integers(1, 40), st.data())
def test_the_tokens_least_like_the_mean_stay(n, data):
    n_keep = data.draw(st.integers(1, n))
    tokens = torch.randn(2, n, 5, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 999)))) + 0.3
    kept, scores = select(look(tokens, n_keep))
    for image, places, score in zip(tokens.double().numpy(), kept.tolist(), scores.numpy(), strict=True):
        expected = reference_scores(image)
        np.testing.assert_allclose(score, expected, atol=1e-5)
        assert places == sorted(set(places)) and len(places) == n_keep
        dropped = sorted(set(range(n)) - set(places))
        assert not dropped or expected[places].max() <= expected[dropped].min() + 1e-6


def test_tokens_that_repeat_the_background_go_first():
    background, odd = torch.tensor([1.0, 0, 0, 0]), torch.eye(4)[1:]
    tokens = torch.cat([background.repeat(7, 1), odd])[None]
    assert select(look(tokens, 3)).places.tolist() == [[7, 8, 9]]


def test_the_mean_is_of_raw_tokens_not_of_normalised_ones():
    """One long token decides the mean of raw tokens (Eq. 3); the public code normalises first and keeps another."""
    tokens = torch.tensor([[[100.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    assert mean_similarity(look(tokens, 3))[0, 0] > 0.99
    assert select(look(tokens, 3)).places.tolist() == [[1, 2, 3]]


@given(st.integers(1, 2000), st.integers(1, 100))
def test_float_error_never_loses_a_token(n, percent):
    exact = n * percent // 100
    if exact:
        assert count_kept(n, percent / 100) == exact
    else:
        with pytest.raises(ValueError, match="leaves none"):
            count_kept(n, percent / 100)


def test_seventy_at_seven_tenths_is_forty_nine():
    assert count_kept(70, 0.7) == count_kept(70, 1 - 0.3) == 49
    assert int(100 * 0.29) == 28 and count_kept(100, 0.29) == 29  # what a plain floor would lose


@pytest.mark.parametrize(
    ("hidden", "keep", "counts"),
    [(147, 0.5, [73, 36, 18]), (167, 0.5, [83, 41, 20]), (118, 0.54, [63, 34, 18])],
)
def test_counts_of_pretraining(hidden, keep, counts):
    reduction = Reduction.for_pretraining(12, keep=keep)
    assert reduction.after == (0, 4, 8) and list(kept_counts(hidden, reduction).values()) == counts


@pytest.mark.parametrize(
    ("ratio", "counts"),
    [(0.0, [196] * 3), (0.1, [176, 158, 142]), (0.2, [156, 124, 99]), (0.3, [137, 95, 66]), (0.4, [117, 70, 42])],
)
def test_counts_of_finetuning(ratio, counts):
    reduction = Reduction.for_finetuning(12, drop_ratio=ratio)
    assert reduction.fold == "append" and kept_counts(196, reduction) == dict(zip((0, 7, 10), counts, strict=True))


@pytest.mark.parametrize(
    ("stages", "after"),
    [
        (0, ()), (1, (0,)), (2, (0, 6)), (3, (0, 4, 8)), (4, (0, 3, 6, 9)), (6, (0, 2, 4, 6, 8, 10)),
        (12, tuple(range(12))),
    ],
)  # fmt: skip
def test_placements_of_the_papers_stage_counts(stages, after):
    assert Reduction.for_pretraining(12, stages=stages).after == after


def test_finetuning_stages_scale_with_depth():
    assert Reduction.for_finetuning(24, drop_ratio=0.1).after == (0, 14, 20)
    assert Reduction.for_finetuning(6, drop_ratio=0.1).after == (0, 3, 5)
    assert Reduction.for_finetuning(1, drop_ratio=0.1).after == (0,)


def test_the_appended_token_is_the_mean_of_the_dropped():
    tokens = torch.randn(2, 9, 4)
    kept = select(look(tokens, 5)).places
    for image, places, mean in zip(tokens, kept.tolist(), mean_of_dropped(tokens, gather(tokens, kept)), strict=True):
        dropped = [place for place in range(9) if place not in places]
        torch.testing.assert_close(mean[0], image[dropped].mean(dim=0))


def test_the_mean_of_few_dropped_tokens_survives_half_precision():
    tokens = (torch.randn(1, 200, 8, generator=torch.Generator().manual_seed(0)) + 5).bfloat16()
    kept = tokens[:, 3:]
    exact = tokens[:, :3].float().mean(1, keepdim=True)
    torch.testing.assert_close(mean_of_dropped(tokens, kept).float(), exact, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reduction(keep=0.0, after=(0,)),
        lambda: Reduction(keep=1.1, after=(0,)),
        lambda: Reduction(keep=0.5, after=(4, 0)),
        lambda: Reduction(keep=0.5, after=(0, 0)),
        lambda: Reduction(keep=0.5, after=(-1, 0)),
        lambda: Reduction.for_pretraining(12, stages=13),
        lambda: Reduction.for_finetuning(12, drop_ratio=1.0),
    ],
)
def test_reductions_that_make_no_sense_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()


@pytest.mark.parametrize(
    ("placement", "three", "six"),
    [
        (1, (0, 4, 8), (0, 2, 4, 6, 8, 10)),
        (2, (3, 7, 11), (1, 3, 5, 7, 9, 11)),
        (3, (0, 5, 11), (0, 2, 4, 6, 8, 11)),
        (4, (0, 1, 2), (0, 1, 2, 3, 4, 5)),
        (5, (9, 10, 11), (6, 7, 8, 9, 10, 11)),
    ],
)
def test_the_drop_cases_of_table_8(placement, three, six):
    assert Reduction.for_pretraining(12, placement=placement).after == three
    assert Reduction.for_pretraining(12, stages=6, placement=placement).after == six


@pytest.mark.parametrize("placement", range(1, 6))
@given(depth=st.integers(1, 40), data=st.data())
def test_placements_are_ascending_blocks_of_the_model_for_any_depth(placement, depth, data):
    stages = data.draw(st.integers(0, depth))
    after = placed(depth, stages, placement)
    assert len(after) == stages and sorted(set(after)) == list(after) and set(after) <= set(range(depth))


def test_a_sixth_placement_is_refused():
    with pytest.raises(ValueError, match=r"placement must be one of 1, 2, 3, 4, 5 \(Table 8\), got 6"):
        placed(12, 3, 6)
