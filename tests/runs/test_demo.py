import json
from pathlib import Path

import pytest
from PIL import Image

from pcae.cli import main
from pcae.commands.demo import meaning
from pcae.runs import demo
from pcae.settings.verbs.demo import DemoConfig
from tests import few


@pytest.mark.slow
@pytest.mark.page
def test_the_demo_ends_with_a_table_and_a_picture(tmp_path, capsys, monkeypatch):
    few.shorten(monkeypatch)
    main(["demo", "--out", str(tmp_path / "demo"), "--steps", "3", "--device", "cpu", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert set(result["knn"]) == {"raw pixels", "random weights", "pre-trained by PCAE"}
    assert result["gain"] == pytest.approx(
        100 * (result["knn"]["pre-trained by PCAE"] - result["knn"]["random weights"])
    )
    with Image.open(result["picture"]) as picture:
        assert min(picture.size) > 500
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "<svg" in page and "Nearest neighbours" in page


def test_every_number_of_the_demo_is_explained(capsys):
    """The names in a line of progress, as the journal writes them, stand in what is said before."""
    for name in ("loss", "gradient", "rank", "kNN", "images/s"):
        assert name in demo.INTRODUCTION
    gain, none = (
        meaning(demo.Demo({"raw pixels": 0.79, "random weights": 0.6}, gain, 1.0, Path(), Path()))
        for gain in (9.5, -2.0)
    )
    assert "9.5 points better" in gain and "79.0%" in gain and "No gain: too few steps" in none


def test_a_demo_of_an_earlier_version_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "train", lambda *_: {})
    with pytest.raises(ValueError, match="has a demo of an earlier version; remove it, or give another --out"):
        demo.run_demo(DemoConfig(out=tmp_path / "old", device="cpu"))
