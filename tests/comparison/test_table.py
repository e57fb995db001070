import json
import math
import re
import statistics

import pytest

from pcae.comparison.table import (
    Column,
    ResultRow,
    Summary,
    difference,
    reference,
    summary,
    to_cells,
    to_markdown,
    to_plain,
)

KNN = Column(name="knn", title="kNN in %", digits=1, scale=100.0, better="higher")
SPEED = Column(name="training_images_per_second", title="images/s", digits=0, better="higher")
FIGURES = {"accuracy": "top-1 in %", "gpu_days": "GPU days"}


def row(name: str, *knn: float, **more) -> ResultRow:
    return ResultRow(name=name, cells={seed: {"knn": value} for seed, value in enumerate(knn)}, **more)


def numbers(found: Summary | None) -> tuple[float, float | None, int]:
    assert found is not None
    return pytest.approx(found.mean), found.deviation and pytest.approx(found.deviation), found.count


def test_mean_and_sample_deviation_over_seeds():
    values = [0.81, 0.79, 0.835]
    assert numbers(summary(row("a", *values), KNN)) == (statistics.mean(values), statistics.stdev(values), 3)
    assert summary(row("a", 0.8), KNN) == Summary(0.8, None, 1)
    assert summary(row("a"), KNN) is None and summary(row("a", 0.8), SPEED) is None


def test_differences_are_paired_over_the_seeds_that_both_have():
    first = ResultRow(name="first", cells={0: {"knn": 0.5}, 1: {"knn": 0.9}, 2: {"knn": 0.1}, 5: {}})
    second = ResultRow(name="second", cells={1: {"knn": 0.8}, 2: {"knn": 0.3}, 3: {"knn": 0.99}, 5: {"knn": 0.7}})
    pairs = [0.8 - 0.9, 0.3 - 0.1]
    assert numbers(difference(second, first, KNN)) == (statistics.mean(pairs), statistics.stdev(pairs), 2)
    assert difference(first, first, KNN) is None
    assert difference(ResultRow(name="third", cells={3: {"knn": 0.8}}), first, KNN) is None
    assert numbers(difference(ResultRow(name="fourth", cells={2: {"knn": 0.8}}), first, KNN)) == (0.8 - 0.1, None, 1)


def test_the_first_row_is_the_first_that_was_measured():
    rows = [
        ResultRow(name="quoted", quoted=True),
        ResultRow(name="failed", failed={0: "why"}),
        row("b", 0.5),
        row("c", 0.6),
    ]
    found = reference(rows)
    assert found is not None and found.name == "b"
    assert reference(rows[:2]) is None


def test_cells_say_what_was_measured_then_what_the_paper_reports():
    rows = [
        row("MAE", 0.5, 0.6, 0.7, paper={"accuracy": 82.9, "gpu_days": 15.4}),
        ResultRow(name="DINO", quoted=True, paper={"accuracy": 83.0}),
        row("PCAE", 0.52, 0.62, paper={"accuracy": 83.6}, failed={2: "out of memory"}),
        ResultRow(name="broken", failed={0: "out of memory"}),
        row("mae-lite", 0.4999, 0.6, 0.7, control=True),
    ]
    assert to_cells(rows, [KNN, SPEED], FIGURES) == (
        ["setting", "kNN in %", "kNN in %, difference", "images/s", "paper: top-1 in %", "paper: GPU days"],
        [
            ["MAE", "60.0 ± 10.0", "–", "–", "82.9", "15.4"],
            ["DINO", "quoted", "–", "quoted", "83.0", "–"],
            ["PCAE", "57.0 ± 7.1 (2 of 3)", "+2.0 ± 0.0 (2 of 3)", "–", "83.6", "–"],
            ["broken", "failed", "–", "failed", "–", "–"],
            ["mae-lite (control)", "60.0 ± 10.0", "+0.0 ± 0.0", "–", "–", "–"],
        ],
    )


def test_differences_are_shown_for_accuracies_only_and_only_where_there_are_any():
    rows = [ResultRow(name=name, cells={0: {"knn": 0.5, SPEED.name: 99.6}}) for name in "ab"]
    assert to_cells(rows, [SPEED, KNN], {})[0] == ["setting", "images/s", "kNN in %", "kNN in %, difference"]
    assert to_cells(rows[:1], [SPEED, KNN], {}) == (["setting", "images/s", "kNN in %"], [["a", "100", "50.0"]])


def test_no_value_that_is_not_a_number_hides():
    rows = [row("a", 0.5, 0.6, 0.7), row("b", 0.5, math.nan, 0.7), row("c", math.inf, 0.5, -math.inf)]
    _, lines = to_cells(rows, [KNN], {})
    assert lines[1][1:] == ["nan ± nan", "+nan ± nan"] and "nan" in lines[2][1]
    found = json.loads(json.dumps(to_plain(rows, [KNN], {}), allow_nan=False))
    assert found["rows"][1]["cells"]["1"]["knn"] == "nan" and found["rows"][1]["summary"]["knn"]["mean"] == "nan"
    assert [found["rows"][2]["cells"][seed]["knn"] for seed in "012"] == ["inf", 0.5, "-inf"]


def test_json_has_the_values_of_every_seed_and_what_follows_from_them():
    rows = [
        row("a", 0.5, 0.7),
        ResultRow(name="b", cells={1: {"knn": 0.8}}, failed={0: "why"}, paper={"accuracy": 83.6}),
    ]
    found = to_plain(rows, [KNN, SPEED], FIGURES)
    assert json.loads(json.dumps(found)) == found
    assert (found["reference"], found["paper_figures"]) == ("a", FIGURES)
    assert [column["name"] for column in found["columns"]] == ["knn", "training_images_per_second"]
    assert found["rows"][0]["cells"] == {"0": {"knn": 0.5}, "1": {"knn": 0.7}} and not found["rows"][0]["difference"]
    second = found["rows"][1]
    assert (second["failed"], second["paper"]) == ({"0": "why"}, {"accuracy": 83.6})
    assert second["summary"] == {"knn": {"mean": 0.8, "deviation": None, "count": 1}}
    assert second["difference"] == {"knn": {"mean": pytest.approx(0.1), "deviation": None, "count": 1}}


def test_markdown_is_one_table_whatever_stands_in_the_names():
    rows = [row("a|b\nc", 0.5), row("back\\|slash\\", 0.6), ResultRow(name="x", failed={3: "line\nbreak | pipe"})]
    text = to_markdown("a\ntitle", rows, [KNN], {"accuracy": "one | two"})
    table = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.findall(r"(?:\\.|[^|\\])+", line[1:-1]) for line in table]
    assert [len(line) for line in cells] == [4] * 5
    assert cells[2][0] == r" a\|b c " and cells[3][0] == r" back\\\|slash\\ "
    assert text.startswith("## a title\n\n|") and text.endswith("\n\n- x, seed 3: line break | pipe\n")


def test_markdown_says_what_its_signs_mean():
    rows = [row("MAE", 0.5, 0.6), row("PCAE", 0.6, 0.6, control=True), ResultRow(name="DINO", quoted=True)]
    text = to_markdown("t", rows, [KNN], FIGURES, "A remark.")
    assert "±: mean and sample standard deviation over seeds 0, 1, or fewer" in text
    assert "difference: to MAE, seed by seed over the seeds that both have" in text
    assert "paper: what the paper reports, on ImageNet and V100 GPUs. None of it was measured here." in text
    assert "quoted: a method that is not built here." in text and "control: a row that" in text
    assert text.endswith("\n\nA remark.\n")
    alone = to_markdown("t", [ResultRow(name="MAE", cells={7: {"knn": 0.5}})], [KNN], {})
    assert alone.count("\n\n") == 2 and alone.endswith(
        "\n\nseed 7: one alone, which says nothing about the spread over seeds.\n"
    )
    assert to_markdown("t", [], [KNN], {}) == "## t\n\n| setting | kNN in % |\n| --- | ---: |\n"
