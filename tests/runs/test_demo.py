import json

import pytest
from PIL import Image

from pcae.cli import main
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
