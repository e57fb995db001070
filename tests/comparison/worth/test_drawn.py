"""Which images train, which are the test, and what pre-training sees."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pcae.comparison.worth import held
from pcae.comparison.worth.drawn import draw, small_classes, without
from pcae.comparison.worth.held import Shrunk, fit, hold, together, with_held
from pcae.data.images import open_images
from pcae.settings.verbs.compare import WorthConfig
from tests import few


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    place = tmp_path_factory.mktemp("labelled")
    noise = np.random.default_rng(0)
    for name in "abcd":
        (place / "train" / name).mkdir(parents=True)
        for index in range(30):
            pixels = noise.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "train" / name / f"{index}.png")
    return place


def names(images):
    return set(images.names)


@pytest.mark.parametrize("most", [2000, 40])
def test_no_seed_trains_on_what_it_holds_out(labelled, most):
    found, own = draw(WorthConfig(data=f"{labelled}/train", seeds=(0, 1, 2), most_labels=most, validation=None))
    assert not own
    for one in found:
        assert not names(one.train) & names(one.held_out)
        seen = names(open_images(one.unlabelled(None), "train"))
        assert not seen & names(one.held_out) and names(one.train) <= seen and len(seen) == 120 - len(one.held_out)
        counts = Counter(one.held_out.labels)
        whole = Counter(open_images(f"{labelled}/train", labels=True).labels)
        assert all(abs(counts[label] - whole[label] / 3) <= 1 for label in whole)
    assert len({frozenset(one.held_out.names) for one in found}) == 3


def test_an_image_has_one_number_in_all_seeds(labelled):
    found, _ = draw(WorthConfig(data=f"{labelled}/train", seeds=(0, 1)))
    numbers = [dict(zip(one.held_out.names, one.ids, strict=True)) for one in found]
    both = numbers[0].keys() & numbers[1].keys()
    assert both and all(numbers[0][name] == numbers[1][name] for name in both)
    assert len(set(numbers[0].values()) | set(numbers[1].values())) == len(numbers[0].keys() | numbers[1].keys())


def test_labels_that_do_not_count_are_pre_trained_on(labelled):
    (one,), _ = draw(WorthConfig(data=f"{labelled}/train", seeds=(0,), most_labels=30))
    assert abs(len(one.train) - 30) <= 5 and one.rest is not None and one.rest.labels is None
    assert len(Counter(one.train.labels)) == 4
    assert open_images(one.labelled(), "train").labels is not None


def test_images_that_are_taken_out_are_out_of_everything(labelled):
    (one,), _ = draw(WorthConfig(data=f"{labelled}/train", seeds=(0,), most_labels=60))
    gone = {one.train.names[0], one.held_out.names[1]}
    left = one.without(gone)
    assert not gone & (names(left.train) | names(left.held_out)) and left.files == one.files
    assert [name for name in one.held_out.names if name not in gone] == list(left.held_out.names)
    assert len(left.ids) == len(left.held_out) == len(one.held_out) - 1


def test_images_are_held_in_memory_shrunk_and_once(labelled):
    found, _ = draw(WorthConfig(data=f"{labelled}/train", seeds=(0, 1)))
    every = together(part for one in found for part in (one.train, one.held_out))
    assert len(every) == 120 == len(names(every)) and every.labels is None
    kept, bad = hold(every, 14, 0.0, 0)
    assert not bad and {one.shape for one in kept.values()} == {(14, 14, 3)}
    one = with_held(found, kept)[0]
    assert np.array_equal(one.train.open(3), kept[one.train.names[3]]) and one.train.labels == found[0].train.labels


def test_small_images_stay_as_they_are_and_large_ones_keep_their_sides_ratio(labelled, tmp_path):
    Image.fromarray(np.zeros((40, 100, 3), np.uint8)).save(tmp_path / "wide.png")
    images = open_images(str(tmp_path))
    assert Shrunk(images, 64)(0).shape == (40, 100, 3) and Shrunk(images, 20)(0).shape == (20, 50, 3)


def test_what_cannot_be_read_is_left_out_and_too_much_is_refused(labelled, tmp_path):
    images = open_images(few.labelled(tmp_path / "some") + "/val", labels=True)
    path = tmp_path / "some" / "val"
    victim = sorted(path.rglob("*.png"))[0]
    victim.write_bytes(b"nothing")
    _, bad = hold(images, 14, 0.5, 0)
    assert bad == {str(victim)} and len(without(images, bad)) == len(images) - 1
    with pytest.raises(ValueError, match="cannot be read"):
        hold(images, 14, 0.0, 0)


def test_what_does_not_fit_stays_where_it_is(labelled, monkeypatch):
    images = open_images(f"{labelled}/train")
    assert fit(images, 100) and not fit(open_images("sample"), 100)
    monkeypatch.setattr(held, "MOST", 1000)
    assert not fit(images, 100)


def test_a_class_with_few_held_out_images_is_named(labelled):
    found, _ = draw(WorthConfig(data=f"{labelled}/train", validation=None))
    assert small_classes(found[0]) == []
    rows = [row for row, label in enumerate(found[0].held_out.labels) if label != 2] + [
        found[0].held_out.labels.index(2)
    ]
    some = replace(found[0], held_out=found[0].held_out.at(np.array(rows)))
    assert small_classes(some) == ["1 classes have fewer than 5 held-out images and hardly count: 'c'"]
