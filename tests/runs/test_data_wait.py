"""A run that waits for its data says so, with what helps."""

import json
from pathlib import Path

import pytest

from pcae.cli import main
from pcae.data.images import open_images
from pcae.runs import data_wait as waiting
from pcae.runs.data_wait import advice
from pcae.settings.reading import DataConfig
from pcae.settings.run import RunConfig
from pcae.settings.training import RunSettings
from tests.data.packed.test_packed import JPEG, PIXELS, pack
from tests.photographs import photographs

TINY = ["--recipe", "sample", "--width", "24", "--depth", "3", "--heads", "2", "--batch-size", "8", "--device", "cpu"]


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(waiting, "count_cores", lambda: 4)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for index, photograph in enumerate(photographs()[:2]):
        photograph.save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


def said(share: float, data: str, workers: int | None) -> str | None:
    reading, run = DataConfig(workers=workers), RunConfig(device="cpu")
    return advice(share, RunSettings(data=data, out=Path("run"), reading=reading, run=run), open_images(data))


def test_up_to_a_tenth_nothing_is_said(cores):
    assert said(0.1, "sample", 0) is None and said(0.11, "sample", 0) is not None


def test_the_remedy_is_one_that_is_left(cores, folder, tmp_path):
    """More processes where there are cores, packing where that was not done, and neither where both were."""
    files, packed, jpeg = str(folder), pack(folder, tmp_path / "a", *PIXELS), pack(folder, tmp_path / "b", *JPEG)
    assert said(0.25, files, None) == (
        "waiting for data took 25% of the time; more --workers read beside the training (now 0); images that were "
        "packed once need less work: pcae pack DATA OUT"
    )
    assert "--workers" not in said(0.25, files, 4) and said(0.25, files, 4).endswith("pcae pack DATA OUT")
    assert said(0.25, jpeg, 4).endswith("pcae pack DATA OUT --form pixels")
    for data in (packed, "sample"):
        assert "(now 3)" in said(0.25, data, 3) and "pcae pack" not in said(0.25, data, 3)
        assert "--workers" not in said(0.25, data, 4) and "it takes more cores" in said(0.25, data, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "is_said"), [(-1.0, True), (1.0, False)])
def test_a_run_and_its_forecast_say_it_in_one_line(monkeypatch, capsys, tmp_path, limit, is_said):
    monkeypatch.setattr(waiting, "WAITING", limit)
    words = ["pretrain", "sample", "--out", str(tmp_path / "run"), *TINY, "--steps", "2"]
    main([*words, "--dry-run"])
    assert ("waiting for data took" in capsys.readouterr().out) is is_said
    main([*words, "--dry-run", "--json"])
    assert (json.loads(capsys.readouterr().out)["remedy"] is not None) is is_said
    main(words)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("waiting for data took")]
    assert len(lines) == is_said
