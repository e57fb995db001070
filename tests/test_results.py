"""What verbs return reads as tables, in a terminal and in a notebook, and becomes pandas' frames."""

import html
import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from pcae.inference.detect_objects import Detected
from pcae.inference.embed import Embeddings
from pcae.inference.evaluated import START, Evaluated
from pcae.inference.predict import Predictions
from pcae.results import Record, RunSummary, Table, print_result

CLASSES = {"ant": {"images": 3, "recall": 1.0, "interval": [0.4, 1.0]}, "<i>": {"images": 1, "recall": 0.0}}
INTERVALS = {"top1": [0.2, 0.8], "top5": [0.5, 1.0]}
MORE = {"images": 4, "intervals": INTERVALS, "by_class": CLASSES, "absent_classes": ["owl"]}
ROWS = [
    {"drop_ratio": 0.0, "top1": 0.5, "top5": 1.0, "gmacs": 2.0, "tokens": [4], START + "1": 5, **MORE},
    {"drop_ratio": 0.5, "top1": 0.25, "top5": 1.0, "gmacs": 1.0, "tokens": [2], START + "1": 9, **MORE},
]  # fmt: skip


@pytest.fixture
def evaluated() -> Evaluated:
    return Evaluated("w", "<b>", "vit<i>", "mean-similarity", "append", None, False, "cpu", "fp32", 1, ROWS, 3)


def test_a_table_prints_the_same_from_python_and_from_the_command_line(evaluated, capsys):
    print_result(evaluated)
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert repr(evaluated).splitlines() == str(evaluated).splitlines() == printed
    assert printed[0] == "vit<i>, 4 images in 3 classes, float32 on cpu" and "25.0 % (20.0–80.0)" in str(evaluated)
    assert "\x1b" not in str(evaluated)


def test_a_notebook_shows_the_same_cells_escaped(evaluated):
    page, tables = evaluated._repr_html_(), [block for block in evaluated.blocks() if isinstance(block, Table)]
    assert len(tables) == 2 and "<i>" not in page and "vit&lt;i&gt;" in page and page.endswith(": owl</p>")
    assert re.findall("<th>(.*?)</th>", page) == [name for table in tables for name in table.columns]
    cells = [html.escape(cell) for table in tables for row in table.rows for cell in row]
    assert re.findall("<td>(.*?)</td>", page) == cells


def test_frames_have_the_numbers_as_they_were_measured(evaluated):
    frame = evaluated.to_pandas()
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(ROWS))


def test_names_of_strangers_rewrite_nothing():
    found = RunSummary(weights="runs/\x1b[2J/w", loss=0.123456789, best=None, ema=True, warnings=["\x1b"])
    for text in (str(found), found._repr_html_()):
        assert "\x1b" not in text and "\\x1b" in text and "0.1235" in text and "yes" in text


def test_a_record_is_a_dict_for_everybody_else():
    found = Record(a=1, b=[2], c={"d": 3})
    assert json.loads(json.dumps(found)) == pickle.loads(pickle.dumps(found)) == {"a": 1, "b": [2], "c": {"d": 3}}
    assert found | {"a": 2} == {"a": 2, "b": [2], "c": {"d": 3}} and isinstance(found, dict)
    assert found.to_pandas().iloc[0].to_dict() == found and "b" not in found.plain()


def test_predictions_have_a_row_a_class_and_one_for_what_cannot_be_read():
    best = [{"class": "cat", "probability": 0.75}, {"class": "dog", "probability": 0.25}]
    found = Predictions([{"path": "a", "top": best}, {"path": "b", "error": "cut short"}])
    assert found.records() == [
        {"path": "a", "rank": 1, "class": "cat", "probability": 0.75},
        {"path": "a", "rank": 2, "class": "dog", "probability": 0.25},
        {"path": "b", "error": "cut short"},
    ]
    assert "cat 75.0%, dog 25.0%" in str(found) and "cut short" in str(found)
    assert "and 5 more" in str(Predictions([{"path": "b", "error": ""}] * 25))


def test_features_are_rows_by_name():
    found = Embeddings(np.arange(12, dtype=np.float32).reshape(2, 2, 3), ["a", "b"], {})
    frame = found.to_pandas()
    assert frame.loc[("b", 0)].tolist() == [6, 7, 8] and frame.shape == (4, 3) and "2 x 2 x 3 features" in str(found)


def test_objects_are_counted_by_image():
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    objects = [{"image_id": 2, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 0.5}] * 3
    found = Detected(Path("out"), images, objects, {})
    assert [row["file_name"] for row in found.records()] == ["b.png"] * 3
    assert re.search(r"b\.png +│ +3 ", str(found)) and re.search(r"a\.png +│ +0 ", str(found))


def test_without_pandas_the_remedy_is_said(evaluated, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match="to_pandas needs the package pandas: pip install pandas"):
        evaluated.to_pandas()
