"""The examples of docs/examples run, move the teacher once a step, and leave an encoder that everybody reads."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

import pcae
from pcae.methods import teacher

pytestmark = [pytest.mark.trains, pytest.mark.slow]
EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "examples").glob("*.py"))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos" / "all").mkdir(parents=True)
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 256, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / "all" / f"{index}.png")
    return tmp_path / "photos"


def test_there_are_two():
    assert [path.stem for path in EXAMPLES] == ["lightning_module", "plain_torch"]
    assert all(len(path.read_text().splitlines()) <= 55 for path in EXAMPLES)


@pytest.mark.filterwarnings("ignore")  # Lightning's, about workers and loggers
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path, photos, tmp_path, monkeypatch):
    momenta, follow, out = [], teacher.follow, tmp_path / "encoder.safetensors"
    monkeypatch.setattr(teacher, "follow", lambda *given: (momenta.append(given[2]), follow(*given)))
    monkeypatch.setattr(sys, "argv", [str(path), str(photos), str(out), "8"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    runpy.run_path(str(path), run_name="__main__")
    assert momenta == [0.5] * 8  # 1 - 4 / steps, a step an epoch

    model = pcae.load(out)
    assert model.facts.mean == [0.485, 0.456, 0.406] and model.encoder.image_size == (64, 64)
    plain = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, num_classes=0)
    plain.load_state_dict(load_file(out), strict=True)
    pixels = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        features = plain.eval().forward_features(model.normalise(pixels))
        torch.testing.assert_close(features[:, 1:], model(pixels).tokens, rtol=1e-4, atol=1e-4)
