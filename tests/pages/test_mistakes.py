"""The wrong predictions that a classifier was surest of, and the page of them."""

import re

import pytest
import torch
from PIL import Image

from pcae.data.images import Images
from pcae.model.pretrained import PretrainedFacts
from pcae.pages.mistakes import Mistakes, write_mistakes
from pcae.settings.network import EncoderConfig

CLASSES = ["<i>cat</i>", "dog", "bird"]


def facts(multi_label: bool = False) -> PretrainedFacts:
    return PretrainedFacts(encoder=EncoderConfig(), mean=[0.0], std=[1.0], classes=CLASSES, multi_label=multi_label)


@pytest.fixture
def shown(tmp_path) -> Images:
    names = [str(tmp_path / f"<b>{place}&.png") for place in range(40)]
    for place, name in enumerate(names):
        Image.new("L", (40, 20), place * 6).save(name)
    (tmp_path / "<b>0&.png").write_bytes(b"torn")
    return Images(names, names, [place % 3 for place in range(40)], CLASSES, 1, str(tmp_path))


def looked_at(images: Images, multi_label: bool = False) -> tuple[Mistakes, torch.Tensor]:
    """Two batches, the second one first."""
    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    found = Mistakes(images, facts(multi_label))
    for rows in (range(20, 40), range(20)):
        found.add(logits[list(rows)], list(rows))
    return found, logits


def test_with_one_class_each_wrong_image_is_there_with_its_probability(shown):
    found, logits = looked_at(shown)
    expected = set()
    for place, row in enumerate(logits):
        chances = torch.exp(row) / torch.exp(row).sum()
        if int(chances.argmax()) != place % 3:
            expected.add((place, CLASSES[place % 3], CLASSES[int(chances.argmax())], round(float(chances.max()), 5)))
    assert {(one.place, one.true, one.predicted, round(one.probability, 5)) for one in found.wrong} == expected
    assert found.images == 40 and expected


def test_with_several_each_wrong_decision_is(shown):
    sets = [tuple(place for place in range(3) if index >> place & 1) for index in range(40)]
    images = Images(shown.items, shown.names, None, CLASSES, 1, shown.root, label_sets=sets)
    found, logits = looked_at(images, multi_label=True)
    expected = set()
    for place, row in enumerate(logits.tolist()):
        for label, logit in enumerate(row):
            chance, name = 1 / (1 + 2.718281828459045**-logit), CLASSES[label]
            if (label in sets[place]) != (chance >= 0.5):
                words = (f"no {name}", name) if chance >= 0.5 else (name, f"no {name}")
                expected.add((place, *words, round(max(chance, 1 - chance), 5)))
    assert {(one.place, one.true, one.predicted, round(one.probability, 5)) for one in found.wrong} == expected


def test_frequent_pairs_come_first_and_in_each_the_surest(shown):
    found, _ = looked_at(shown)
    pairs = found.by_pair(4, 3)
    counts = [count for _, count, _ in pairs]
    assert counts == sorted(counts, reverse=True) and len(pairs) == 4
    for (true, predicted), count, some in pairs:
        own = [one.probability for one in found.wrong if (one.true, one.predicted) == (true, predicted)]
        assert len(own) == count and [one.probability for one in some] == sorted(own, reverse=True)[:3]


def test_the_page_stands_alone_and_escapes_names(tmp_path, shown):
    found, _ = looked_at(shown)
    write_mistakes(tmp_path / "a.html", found, "runs/<x>", "data & more", 0.3)
    page = (tmp_path / "a.html").read_text()
    assert "<b>" not in page.replace("<b>", "", page.count("<figcaption><b>")) and "<i>" not in page
    assert "&lt;b&gt;7&amp;.png" in page and "&lt;i&gt;cat&lt;/i&gt;" in page and "runs/&lt;x&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and page.count("data:image/jpeg;base64,") > 10
    assert f"{len(found.wrong)} wrong of 40 images of data &amp; more, at drop ratio 0.3" in page


def test_nothing_wrong_is_said(tmp_path, shown):
    write_mistakes(tmp_path / "a.html", Mistakes(shown, facts()), "runs/a", "data", 0.0)
    assert "Nothing was wrong" in (tmp_path / "a.html").read_text()
