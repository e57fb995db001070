"""Pictures of curves stand inside a page: their text is text, their width is the page's, their ids are their own."""

import math
import re

import pytest

from pcae.evaluation.run_metrics import Curve
from pcae.pictures.run_curves import draw_curves
from tests.evaluation.test_run_metrics import curve_of


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_it_has_no_size_of_its_own_no_address_and_text_is_text():
    svg = draw_curves({"student": curve_of(range(9)), "teacher": curve_of(range(9, 0, -1))}, "spread")
    assert svg is not None and svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
    head = svg[: svg.index(">")]
    assert "viewBox" in head and "width=" not in head and "height=" not in head
    assert "http" not in svg and "<metadata" not in svg
    assert {"step", "student", "teacher"} <= set(texts(svg))


def test_two_pictures_share_no_id_and_each_finds_its_own():
    pictures = [draw_curves({"loss": curve_of(range(5))}, name) or "" for name in ("one", "two")]
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in pictures]
    assert ids[0] and not ids[0] & ids[1]
    for svg, own in zip(pictures, ids, strict=True):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        assert used and used <= own


def test_the_same_curve_is_the_same_picture():
    assert draw_curves({"loss": curve_of(range(5))}, "loss") == draw_curves({"loss": curve_of(range(5))}, "loss")


def test_a_curve_without_a_finite_value_is_not_drawn():
    assert draw_curves({"loss": curve_of([math.nan, math.inf])}, "loss") is None
    assert draw_curves({"loss": Curve()}, "loss") is None
    both = draw_curves({"loss": curve_of([math.nan]), "right": curve_of([1.0, math.nan, 2.0])}, "some")
    assert both is not None and "loss" not in texts(both)


@pytest.mark.parametrize(("options", "lowest"), [({}, 90), ({"floor": True}, 0), ({"share": True, "floor": True}, 0)])
def test_an_axis_begins_at_zero_where_that_matters(options, lowest):
    svg = draw_curves({"value": curve_of([100.0, 99, 101, 100])}, "value", **options)
    ticks = [text for text in texts(svg or "") if text != "step"]
    numbers = [float(text.rstrip("%")) for text in ticks[-5:] if re.fullmatch(r"[\d.]+%?", text)]
    assert numbers and (min(numbers) == 0 if lowest == 0 else min(numbers) > lowest)
    assert any(text.endswith("%") for text in ticks) is ("share" in options)


def test_a_single_look_stands_at_its_step():
    svg = draw_curves({"rank": curve_of([5.0])}, "rank")
    assert {"0", "1", "2"} <= set(texts(svg or "")) and not any(text.endswith("m") for text in texts(svg or ""))


def test_values_over_powers_of_ten_get_a_logarithmic_axis_where_they_may():
    wide = curve_of([0.01, 1, 1000])
    plain, log = (draw_curves({"norm": wide}, "norm", log=choice) or "" for choice in (False, True))
    assert "10" in " ".join(texts(log)) and texts(log) != texts(plain)
    assert draw_curves({"norm": curve_of([1, 2, 3])}, "norm", log=True) == draw_curves(
        {"norm": curve_of([1, 2, 3])}, "norm"
    )
    assert draw_curves({"norm": curve_of([-1, 1, 1000])}, "norm", log=True) is not None
