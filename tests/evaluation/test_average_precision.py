"""Average precision is scikit-learn's, ties and all, and its interval that of drawing images again."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from pcae.evaluation.average_precision import DRAWS, Ranked, average_precisions, joined
from pcae.evaluation.estimates import SEED


def ranked(images: int = 150, classes: int = 5, levels: int = 12) -> Ranked:
    """Scores of few levels, so that many are equal."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(levels, (images, classes), generator=generator) / levels
    labels = torch.rand(images, classes, generator=generator) < 0.2 + 0.3 * scores
    return Ranked(scores, labels, torch.arange(images))


@pytest.mark.parametrize("levels", [2, 12, 10**6])
def test_it_is_scikit_learns(levels):
    found = ranked(levels=levels)
    labels, scores = found.labels.numpy(), found.scores.numpy()
    expected = average_precision_score(labels, scores, average=None)
    details = found.details(list("abcde"))
    assert [row["average_precision"] for row in details["by_class"].values()] == pytest.approx(expected)
    assert found.numbers() == {"map": pytest.approx(average_precision_score(labels, scores, average="macro"))}


def test_images_count_by_their_weights_as_in_scikit_learn():
    found = ranked()
    weights = torch.randint(4, (3, 150), generator=torch.Generator().manual_seed(1)).double()
    each = average_precisions(found.scores, found.labels, weights)
    for draw, weight in enumerate(weights.numpy()):
        expected = average_precision_score(found.labels, found.scores, average=None, sample_weight=weight)
        assert each[draw].tolist() == pytest.approx(expected)


def test_classes_that_no_image_shows_are_left_out_and_said():
    found = ranked()
    labels = found.labels.clone()
    labels[:, 2] = False
    found = Ranked(found.scores, labels, found.places)
    kept = [0, 1, 3, 4]
    assert found.mean_ap == pytest.approx(average_precision_score(labels[:, kept], found.scores[:, kept]))
    details = found.details(list("abcde"))
    assert details["absent_classes"] == ["c"] and list(details["by_class"]) == list("abde")


def test_parts_add_up_in_any_order():
    whole = ranked()
    parts = [
        Ranked(whole.scores[rows], whole.labels[rows], whole.places[rows])
        for rows in (slice(1, None, 2), slice(0, None, 2))
    ]
    again = joined(parts, 5)
    assert again.images == 150 and again.details(list("abcde")) == whole.details(list("abcde"))


def test_the_interval_is_that_of_images_drawn_again():
    found = ranked(60, 3)
    random, means = np.random.default_rng(SEED), []
    for _ in range(DRAWS):
        rows = random.integers(60, size=60)
        labels, scores = found.labels.numpy()[rows], found.scores.numpy()[rows]
        means.append(average_precision_score(labels, scores))
    low, high = found.details(list("abc"))["intervals"]["map"]
    assert (low, high) == (pytest.approx(np.percentile(means, 2.5)), pytest.approx(np.percentile(means, 97.5)))
    assert low < found.mean_ap < high
