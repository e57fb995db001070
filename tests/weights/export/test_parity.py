from copy import deepcopy

import pytest
import torch

from pcae.model.blocks import Stage
from pcae.weights.export.deployed import Answer
from pcae.weights.export.formats import FORMATS, export
from pcae.weights.export.parity import compare
from tests.weights.exported import model_of, pictures

IMAGES = torch.zeros(2, 1, 1, 1, dtype=torch.uint8)
ALL = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])


def stage(block=0, scores=(0.1, 0.2, 0.3, 0.4), kept=(0, 1)) -> Stage:
    """Two images alike, whose tokens have these scores."""
    return Stage(block, ALL, torch.tensor([scores] * 2), torch.tensor([kept] * 2))


def check(output, kept, stages=None, tolerance=1e-4):
    """PyTorch answers 1 and keeps what `stages` say; the other one answers `output` and keeps `kept`."""
    return compare(
        lambda _: Answer(torch.ones(2, 3), stages or (stage(),)),
        lambda _: (torch.tensor(output)[:, None].expand(2, 3), *map(torch.tensor, kept)),
        [IMAGES],
        tolerance,
    )


def test_the_same_answers_hold():
    parity = check([1.0, 1.0], [[[0, 1], [1, 0]]])
    assert parity.holds and (parity.images, parity.same_kept, parity.max_difference) == (2, 2, 0.0)


def test_the_largest_difference_counts_up_to_the_tolerance():
    assert check([1.0, 1.00009], [[[0, 1], [0, 1]]]).holds
    parity = check([1.0, 1.0002], [[[0, 1], [0, 1]]])
    assert not parity.holds and parity.max_difference == pytest.approx(2e-4, rel=1e-3)
    assert "largest difference 0.0002 (at most 0.0001, for answers up to 1)" in parity.describe()


@pytest.mark.parametrize("size", [1e-3, 24.0, 1e4])
def test_what_the_difference_may_be_follows_the_size_of_the_answers(size):
    ours = torch.full((2, 3), size)

    def held(share: float):
        return compare(lambda _: Answer(ours), lambda _: (ours * (1 + share),), [IMAGES], 1e-5)

    assert held(8e-6).holds and not held(1.3e-5).holds
    assert held(0.0).allowed == pytest.approx(size * 1e-5) and held(0.0).size == pytest.approx(size)


def test_answers_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"answers \(4,\) values for an image, the weights \(3,\): it is of another"):
        compare(lambda _: Answer(torch.ones(2, 3)), lambda _: (torch.ones(2, 4),), [IMAGES], 1e-5)
    with pytest.raises(ValueError, match="drops tokens 2 times, the weights 1 times; give its --drop-ratio"):
        check([1.0, 1.0], [[[0, 1], [0, 1]], [[0], [0]]])


@pytest.mark.parametrize("output", [float("nan"), float("inf")])
def test_what_is_no_number_does_not_hold(output):
    assert not check([output, 1.0], [[[0, 1], [0, 1]]]).holds
    assert not check([1.0, output], [[[0, 1], [0, 1]]]).holds


def test_other_tokens_do_not_hold_even_with_the_same_logits():
    parity = check([1.0, 1.0], [[[0, 1], [0, 2]]])
    assert not parity.holds and (parity.same_kept, parity.ties, parity.different) == (1, 0, 1)
    assert parity.widest_gap == pytest.approx(0.1 / 0.4)
    assert "1 by scores up to 25 % of the largest apart" in parity.describe()


@pytest.mark.parametrize("size", [1e-6, 1 / 196, 1.0, 1e3])
def test_a_tie_is_a_share_of_the_scores_so_a_disagreement_of_small_ones_is_seen(size):
    """Attention is about one over the number of tokens, so all its scores are close; what is a tie does not depend on
    that. Scores of minus infinity, which must stay, are no measure."""
    apart = stage(scores=(-1.0 * size, -0.9 * size, -0.899 * size, -0.1 * size))
    tied = stage(scores=(-torch.inf, 0.9 * size, 0.9 * size * (1 + 5e-6), size))
    for scores, ties in ((apart, 0), (tied, 1)):
        parity = check([1.0, 1.0], [[[0, 1], [0, 2]]], [scores])
        assert (parity.ties, parity.different) == (ties, 1 - ties)


def test_scores_that_are_all_zero_tie():
    assert check([1.0, 1.0], [[[0, 1], [0, 2]]], [stage(scores=(0.0, 0.0, 0.0, 0.0))]).ties == 1


def test_tokens_exchanged_by_a_tie_are_counted_and_their_logits_are_not():
    tied = stage(scores=(0.1, 0.2, 0.2 + 3e-6, 0.4))
    parity = check([1.0, 7.0], [[[0, 1], [0, 2]]], [tied])
    assert parity.holds and (parity.same_kept, parity.ties, parity.different) == (1, 1, 0)
    assert parity.max_difference == 0.0


def test_a_tie_at_the_cut_excuses_no_other_exchange():
    """Tokens 1 and 2 tie at the cut; who keeps 3 for 0 is wrong all the same."""
    tied = stage(scores=(0.1, 0.2, 0.2 + 3e-6, 0.4))
    assert check([1.0, 1.0], [[[0, 1], [1, 3]]], [tied]).different == 1


def test_what_comes_after_a_tie_is_not_counted_again():
    first = stage(scores=(0.1, 0.2, 0.2 + 3e-6, 0.4))
    second = Stage(1, ALL[:, :2], torch.tensor([[0.1, 0.9]] * 2), torch.tensor([[0]] * 2))
    parity = check([1.0, 1.0], [[[0, 1], [0, 2]], [[0], [2]]], [first, second])
    assert parity.holds and (parity.ties, parity.different) == (1, 0)
    assert check([1.0, 1.0], [[[0, 1], [0, 1]], [[0], [1]]], [first, second]).different == 1


def merging(margin, scores=(0.1, 0.2, 0.3, 0.4)):
    """A stage that keeps tokens 0 to 2 of both images, whose merging was decided by so much, and one that keeps two."""
    first = Stage(0, ALL, torch.tensor([scores] * 2), ALL[:, :3], lambda: torch.tensor([1.0, margin]))
    return first, Stage(1, ALL[:, :3], torch.tensor([[0.1, 0.5, 0.9]] * 2), ALL[:, :2], lambda: torch.ones(2))


SAME = [[0, 1, 2], [0, 1, 2]]


def test_what_comes_after_a_tie_of_merging_is_a_tie():
    """Which kept token took another in was decided by rounding, so a later stage may keep others, and logits differ."""
    for margin, ties in ((1e-8, 1), (1e-3, 0)):
        parity = check([1.0, 7.0], [SAME, [[0, 1], [0, 2]]], merging(margin))
        assert (parity.same_kept, parity.ties, parity.different) == (1, ties, 1 - ties)
        parity = check([1.0, 7.0], [SAME, [[0, 1], [0, 1]]], merging(margin))
        assert (parity.same_kept, parity.ties, parity.holds) == (2 - ties, ties, bool(ties))


def test_in_eight_bits_a_tie_of_merging_takes_no_image_out_of_the_difference():
    ours, theirs = torch.ones(2, 3), torch.tensor([[1.0] * 3, [7.0] * 3])
    parity = compare(lambda _: Answer(ours, merging(1e-8)), lambda _: (theirs,), [IMAGES], 1e-4, precision="int8")
    assert (parity.max_difference, parity.ties) == (6.0, None)


def test_a_tie_of_merging_excuses_nothing_before_it_and_no_ids_that_cannot_be():
    first, second = merging(1e-8)
    assert check([1.0, 1.0], [[[0, 1, 2], [0, 1, 3]], [[0, 1], [0, 1]]], (first, second)).different == 1
    assert check([1.0, 1.0], [SAME, [[0, 1], [0, 0]]], (first, second)).widest_gap == float("inf")


@pytest.mark.parametrize("kept", [[0, 0], [0, 9]])
def test_ids_that_repeat_or_do_not_exist_do_not_hold(kept):
    tied = stage(scores=(0.1, 0.1, 0.1, 0.1))
    parity = check([1.0, 1.0], [[[0, 1], kept]], [tied])
    assert not parity.holds and parity.widest_gap == float("inf")


def test_ties_everywhere_leave_nothing_that_holds():
    tied = stage(scores=(0.1, 0.1, 0.1, 0.1))
    assert not check([1.0, 1.0], [[[2, 3], [2, 3]]], [tied]).holds


def test_a_check_without_images_is_refused():
    with pytest.raises(ValueError, match="no image to check"):
        compare(lambda _: Answer(IMAGES), lambda _: (IMAGES,), [], 1e-4)


DISTURBED = ["torch-export", "timm", "hf", "safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("to", DISTURBED)
def test_an_export_with_other_weights_is_not_kept(to, tmp_path, monkeypatch):
    model = model_of(classes=["a", "b"])
    disturbed = deepcopy(model)
    with torch.no_grad():
        disturbed.encoder.vit.blocks[1].mlp.fc2.bias[3] += 0.01
    form = FORMATS[to]
    write = form.write
    monkeypatch.setattr(form, "write", lambda _, ratio, place: write(disturbed, ratio, place))
    with pytest.raises(ValueError, match=r"does not answer as PyTorch does: largest difference .* nothing was kept"):
        export(model, to, tmp_path / "a.out", 0.0, [pictures(model, 4)])
    assert not [*tmp_path.iterdir()]
    monkeypatch.setattr(form, "write", write)
    assert export(model, to, tmp_path / "a.out", 0.0, [pictures(model, 4)]).holds


@pytest.mark.slow
def test_an_export_that_keeps_other_tokens_is_not_kept(tmp_path, monkeypatch):
    """The program of another criterion: it drops the tokens that PyTorch keeps."""
    model = model_of(classes=["a", "b"])
    program = FORMATS["torch-export"].reopen

    def reopen(model, path):
        answer = program(model, path)
        return lambda images: tuple(value if place == 0 else 23 - value for place, value in enumerate(answer(images)))

    monkeypatch.setattr(FORMATS["torch-export"], "reopen", reopen)
    with pytest.raises(ValueError, match="4 by scores up to"):
        export(model, "torch-export", tmp_path / "a.pt2", 0.3, [pictures(model, 4)])
    assert not [*tmp_path.iterdir()]
