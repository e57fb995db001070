"""Every sentence of the verdict follows from numbers: each rule with some that meet it and some that do not."""

import pytest

from pcae.comparison.worth.curve import Outlook
from pcae.comparison.worth.paired import Sure
from pcae.comparison.worth.verdict import Way, best_of, verdict

FROZEN = Way("W", "given", "linear", 0.80)
PIXELS = Way("raw pixels", "pixels", "knn", 0.80)
SCRATCH = Way("random weights", "random", "finetuned", 0.80)
CONTINUED = Way("W, continued", "continued", "linear", 0.83, 2400.0)


def said(best, other, mean, half, images=3000, seeds=3):
    return " ".join(verdict(best, other, Sure(mean, half, images, seeds)))


def test_a_gain_that_is_sure_is_said_with_its_price():
    found = said(FROZEN, CONTINUED, 0.031, 0.008)
    assert found == (
        "Continue pre-training: +3.1 ± 0.8 points for 40 min, "
        "by frozen features of W, continued, by a linear classifier "
        "against frozen features of W by a linear classifier."
    )


@pytest.mark.parametrize(
    ("kind", "begins"),
    [("pretrained", "Pre-train on your images"), ("distilled", "Distil into a small network")],
)
def test_what_to_do_is_what_won(kind, begins):
    other = Way("it", kind, "finetuned", 0.9, 60.0)
    assert said(SCRATCH, other, 0.1, 0.02).startswith(f"{begins}: +10.0 ± 2.0 points for 60 s, by fine-tuning ")


def test_where_nothing_is_gained_frozen_features_are_enough():
    found = said(FROZEN, CONTINUED, 0.002, 0.02)
    assert found.startswith("Frozen features of W by a linear classifier are as good as anything")
    assert "that was pre-trained here: stop there." in found and found.endswith("differs by +0.2 ± 2.0 points.")


def test_a_loss_that_is_sure_is_said():
    found = said(FROZEN, CONTINUED, -0.03, 0.01)
    assert found.startswith("Frozen features of W by a linear classifier beat everything") and "-3.0 ± 1.0" in found
    assert said(SCRATCH, CONTINUED, -0.03, 0.01).startswith("Training from scratch with labels alone beats everything")


def test_raw_pixels_that_beat_everything_are_named():
    assert said(PIXELS, CONTINUED, -0.03, 0.01).startswith("Raw pixels beat everything that was pre-trained here: stop")
    assert said(PIXELS, CONTINUED, -0.01, 0.02).startswith("Raw pixels by nearest neighbours are as good as")


def test_too_few_images_are_said_to_be_too_few_and_how_many_more_it_takes():
    found = said(FROZEN, CONTINUED, 0.04, 0.09, images=40)
    assert found.startswith("Too few images to tell: +4.0 ± 9.0 points")
    assert "40 held-out images: differences under 9 points cannot be seen." in found
    assert "Label about 320 more held-out images to see 3 points." in found
    assert "and take more seeds than one" in said(FROZEN, CONTINUED, 0.04, 0.09, images=40, seeds=1)


def test_a_difference_that_is_seen_is_told_however_few_the_images_are():
    assert said(FROZEN, CONTINUED, 0.3, 0.2, images=40).startswith("Continue pre-training: +30.0")


def ahead(gain, low, high):
    return Way("W, continued", "continued", "linear", 0.83, 2400.0, Outlook(gain, low, high, rises=low > 0))


def test_what_longer_training_would_bring_is_added():
    assert said(FROZEN, ahead(0.02, -0.01, 0.06), 0.031, 0.008).endswith(
        "W, continued, 10 times the time: about +2 points, anything from -1 to +6: not sure."
    )
    may = said(FROZEN, ahead(0.02, 0.0, 0.06), -0.03, 0.01)
    assert may.endswith("Longer pre-training may win; try it.")
    assert "may win" not in said(FROZEN, ahead(0.0, -0.01, 0.01), -0.03, 0.01)


def test_where_nothing_was_pre_trained_the_best_of_the_rest_is_named():
    assert verdict(FROZEN, None, None) == [
        "Frozen features of W by a linear classifier are best of what was tried; nothing was pre-trained."
    ]


def test_the_best_of_some_kinds():
    assert best_of([PIXELS, FROZEN, CONTINUED], ("pixels", "given")) is PIXELS
    assert best_of([PIXELS], ("continued",)) is None
