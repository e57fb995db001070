import math

import numpy as np
import pytest
import torch

from pcae.methods.choice import build_method
from pcae.methods.health import Look, effective_rank, look, measure, position_share
from pcae.model.tokens import gather, patchify
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig
from pcae.training.randomness import randomness

SMALL = DecoderConfig(decoder_width=16, decoder_depth=1, decoder_heads=2)


def test_the_effective_rank_is_rankme_written_out_in_numpy():
    features = torch.randn(12, 7, generator=torch.Generator().manual_seed(0))
    values = np.linalg.svd(features.numpy(), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(features).item() == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-5)


def test_the_effective_rank_is_one_where_all_is_the_same_and_full_for_orthogonal_features():
    assert effective_rank(torch.ones(9, 5)).item() == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.eye(6)).item() == pytest.approx(6, rel=1e-5)
    assert effective_rank(torch.zeros(3, 4)).item() == pytest.approx(1)


def drawn(images: int, positions: int, by_position: float, by_image: float):
    """Targets at half of the positions: a part that the position decides, a part that is each target's own."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.rand(images, positions, generator=generator).argsort(dim=1)[:, : positions // 2].sort(dim=1).values
    means = torch.randn(positions, 8, generator=generator) * by_position
    own = torch.randn(images, positions // 2, 8, generator=generator) * by_image
    return means[ids] + own, ids


@pytest.mark.parametrize(("by_position", "by_image", "share"), [(1, 1, 0.5), (2, 1, 0.8), (0, 1, 0), (1, 0, 1)])
def test_the_share_of_position_is_that_of_the_variance_and_chance_has_none(by_position, by_image, share):
    within, found = position_share(*drawn(64, 24, by_position, by_image), 24)
    assert found.item() == pytest.approx(share, abs=0.06)
    assert within.item() == pytest.approx(by_image, abs=0.05)


def test_features_that_are_not_finite_have_no_rank_and_a_few_targets_no_position():
    assert effective_rank(torch.tensor([[1.0, torch.inf], [0.0, 1.0]])).isnan()
    assert all(value.isnan() for value in position_share(*drawn(3, 24, 1, 1), 24))


def test_equal_targets_are_all_position():
    within, share = position_share(torch.ones(4, 3, 5), torch.arange(3).expand(4, -1), 6)
    assert within.item() == 0 and share.item() == 1


@pytest.mark.parametrize(
    ("name", "has_teacher"),
    [("pcae", True), ("mae", False), ("simmim", False), ("pcae-simmim", True), ("mae-discard", True)],
)
def test_a_look_sees_what_a_step_sees_and_leaves_nothing_behind(encoder, images, name, has_teacher):
    decoder = DecoderConfig() if "simmim" in name else SMALL
    method = build_method(encoder, MethodConfig(method=name), decoder)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    random = randomness(0, 0, 4, torch.device("cpu"))
    seen = look(method, images, random)
    assert seen.student.shape[:2] == (4, method.n_visible) and not seen.student.requires_grad
    assert seen.ids.shape == (4, method.counts[-1]) and seen.targets.shape[:2] == seen.ids.shape
    assert (seen.teacher is not None) == has_teacher == bool(seen.scores)
    numbers = measure(seen, 24)
    assert (
        ("teacher_rank" in numbers) == has_teacher == ("score_std" in numbers) == ("teacher_student_cosine" in numbers)
    )
    assert {"student_std", "student_rank", "target_std", "position_share"} <= numbers.keys()
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


def test_views_and_their_pool_are_looked_at_too(encoder, images):
    method = build_method(encoder, MethodConfig(mask_ratio=0.85, views=3, pool_ratio=0.25), SMALL)
    seen = look(method, images, randomness(0, 0, 4, torch.device("cpu")))
    assert seen.student.shape[1] == method.n_visible == 3
    assert seen.scores[0].shape[1] == method.counts[0] == 18


def test_a_teacher_that_is_a_copy_agrees_with_its_student(encoder, images):
    """Its features of the visible patches are the student's own; its spread is that of its kept tokens, written out."""
    method = build_method(encoder, MethodConfig(), SMALL)
    random = randomness(0, 0, 4, torch.device("cpu"))
    seen = look(method, images, random)
    numbers = measure(seen, 24)
    assert numbers["teacher_student_cosine"].item() == pytest.approx(1, abs=1e-5)
    hidden = random.uniform("mask", 24).argsort(dim=1)[:, 6:].sort(dim=1).values
    kept = method.teacher(gather(patchify(images, (8, 8)), hidden), hidden, random).encoded.tokens
    expected = kept.numpy().mean(axis=1).std(axis=0).mean()
    assert numbers["teacher_std"].item() == pytest.approx(expected, rel=1e-4)


def test_scores_that_are_all_alike_have_no_spread():
    tokens = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(2))
    flat = Look(tokens, tokens, torch.arange(3).expand(4, -1), tokens, tokens, (torch.full((4, 6), 0.7),))
    assert measure(flat, 6)["score_std"].item() < 1e-6
