import math
import random
from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from pcae.comparison import plots as comparison_plots
from pcae.comparison.plots import label, plot, write_numbers
from pcae.comparison.table import Column, ResultRow

KNN = Column(name="knn", title="kNN in %", digits=1, scale=100.0, better="higher")
COLUMNS = [
    KNN,
    Column(name="linear", title="linear in %", digits=1, scale=100.0, better="higher"),
    Column(name="training_images_per_second", title="images/s", digits=0, better="higher"),
    Column(name="seconds", title="seconds of training", digits=0, better="lower"),
]


def rows_of(names: list[str], seeds: int = 3) -> list[ResultRow]:
    noise = random.Random(0)
    return [
        ResultRow(name=name, cells={seed: {"knn": noise.gauss(0.8, 0.01), "seconds": 100.0} for seed in range(seeds)})
        for name in names
    ]


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures that are made."""
    made = []
    monkeypatch.setattr(comparison_plots, "Figure", lambda **options: made.append(Figure(**options)) or made[-1])
    return made


def test_a_picture_for_each_accuracy_that_was_measured(tmp_path):
    written = plot(tmp_path / "a.png", "t", rows_of(["MAE", "PCAE"]), COLUMNS)
    assert written == [tmp_path / "a-knn.png"] and list(tmp_path.iterdir()) == written
    with Image.open(written[0]) as picture:
        assert picture.width == 1800
    assert plot(tmp_path / "b.svg", "t", rows_of(["MAE"]), COLUMNS[1:]) == []
    assert plot(tmp_path / "b.png", "t", [ResultRow(name="x", quoted=True)], COLUMNS) == []


def test_without_seconds_there_is_one_panel(tmp_path, figures):
    plot(tmp_path / "a.svg", "t", rows_of(["MAE", "PCAE"]), COLUMNS[:3])
    assert [len(figure.axes) for figure in figures] == [1]


def test_seeds_means_and_deviations_stand_where_they_belong(tmp_path, figures):
    cells = {0: {"knn": 0.7, "seconds": 10.0}, 1: {"knn": 0.9, "seconds": 30.0}, 2: {"knn": 0.8}}
    rows = [ResultRow(name="DINO", quoted=True), ResultRow(name="PCAE", cells=cells)]
    plot(tmp_path / "a.svg", "t", rows, COLUMNS)
    left, right = figures[0].axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["1  PCAE"]
    assert left.collections[0].get_offsets()[:, 0].tolist() == pytest.approx([70, 90, 80])
    assert right.collections[0].get_offsets().tolist() == [pytest.approx([10, 70]), pytest.approx([30, 90])]
    assert left.lines[0].get_xdata() == pytest.approx([80]) and right.lines[0].get_xydata()[0] == pytest.approx(
        [20, 80]
    )
    (bar,) = left.collections[1].get_segments()
    assert bar[:, 0].tolist() == pytest.approx([70, 90])


def test_labels_say_why_something_is_not_drawn():
    assert label(3, ResultRow(name="x"), KNN) == "3  x (not measured)"
    assert label(3, ResultRow(name="x", failed={0: "why"}), KNN) == "3  x (failed)"
    assert label(3, ResultRow(name="x", control=True, cells={0: {"knn": 0.5}}), KNN) == "3  x (control)"
    assert label(3, ResultRow(name="x", failed={0: "why"}, cells={1: {"linear": 0.5}}), KNN) == "3  x (not measured)"
    cells = {0: {"knn": 0.5}, 1: {"knn": math.nan}}
    assert label(3, ResultRow(name="x", cells=cells), KNN) == "3  x (nan with seed 1)"


def test_long_names_are_neither_clipped_nor_taken_for_formulas(tmp_path, figures):
    names = [f"{number} {'a long name with $x_1$, ' * 9}" for number in range(12)] + ["w" * 300]
    plot(tmp_path / "a.png", "a title with $x_1$ " * 9, rows_of(names), COLUMNS)
    figure = figures[0]
    texts = [*figure.axes[0].get_yticklabels(), figure._suptitle]
    assert all("$" in text.get_text() and not text.get_parse_math() for text in (texts[0], texts[-1]))
    boxes = [text.get_window_extent() for text in (*texts, figure.axes[0].xaxis.label)]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert not any(box.overlaps(other) for box, other in pairwise(boxes))


@pytest.mark.parametrize("spread", [0.0, 1e-9, 0.01, 1.0])
def test_numbers_of_rows_with_nearly_the_same_values_do_not_overlap(spread):
    noise = random.Random(1)
    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    means = {number: (100 + noise.gauss(0, spread), 80 + noise.gauss(0, spread)) for number in range(1, 13)}
    means |= {13: (90.0, 70.0), 14: (110.0, 90.0)}
    axes.margins(0)  # so that these two stand in the corners
    axes.scatter(*zip(*means.values(), strict=True))
    write_numbers(figure, axes, means)
    figure.draw_without_rendering()
    texts = [text for text in axes.texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in texts] == [str(number) for number in means]
    boxes = [super(Annotation, text).get_window_extent() for text in texts]
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures_of_odd_values_are_drawn_too(tmp_path, suffix, figures):
    odd = [math.nan, math.inf, -math.inf, 0.0, 0.8]
    rows = [ResultRow(name=f"{a} {b}", cells={0: {"knn": a, "seconds": b}, 1: {"knn": 0.5}}) for a in odd for b in odd]
    (path,) = plot(tmp_path / f"a.{suffix}", "t", [*rows, ResultRow(name="x", failed={0: "why"})], COLUMNS)
    assert path.stat().st_size > 1000
    numbers = [text.get_text() for text in figures[0].axes[1].texts]
    assert numbers == [str(4 + 5 * place + back) for place in range(3, 5) for back in range(2)]


def test_seconds_of_several_orders_have_a_logarithmic_axis(tmp_path, figures):
    for most in (50.0, 5000.0):
        rows = [ResultRow(name=str(x), cells={0: {"knn": 0.5, "seconds": x}}) for x in (10.0, most)]
        plot(tmp_path / "a.svg", "t", rows, COLUMNS)
    assert [figure.axes[1].get_xscale() for figure in figures] == ["linear", "log"]
