"""What the page of a run shows of its features: neighbours, a map, clusters, held against independent computations."""

import base64
import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pcae
from pcae.cli import main
from pcae.data.images import open_images
from pcae.evaluation.features import embed
from pcae.pages.feature_map import LEAST_IMAGES, feature_map, laid_out, nearest
from pcae.pages.run_data import read_run
from tests.browser import opened
from tests.runs.test_pretraining import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("map") / "run"
    main(["pretrain", "sample", "--out", str(out), *TINY, "--steps", "5", "--health-every", "0"])
    return out


def test_neighbours_are_those_of_all_pairs():
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    every = torch.cosine_similarity(features[:, None], features[None], dim=2).fill_diagonal_(-2).numpy()
    found = nearest(features, torch.tensor([3, 17]))
    assert found == [np.argsort(-every[row])[:5].tolist() for row in (3, 17)]


def test_the_map_is_of_images_of_the_run_by_its_own_features(run):
    found = feature_map(read_run(run))
    images = open_images("sample", "train")
    chosen = images.some(LEAST_IMAGES)
    assert found["names"] == [images.short(index) for index in chosen] and found["images"] == LEAST_IMAGES
    features = torch.nn.functional.normalize(embed(pcae.load(run), images.at(np.array(chosen))), dim=1)
    asked = found["asked"][2]
    similarity = features @ features[asked["image"]]
    similarity[asked["image"]] = -2
    assert asked["after"] == similarity.topk(5).indices.tolist() and len(asked["before"]) == 5
    with Image.open(io.BytesIO(base64.b64decode(found["sprite"].partition(",")[2]))) as sprite:
        assert sprite.size == (8 * 40, 8 * 40)
    assert sum(group["size"] for group in found["clusters"]) == LEAST_IMAGES
    assert all(0 <= value <= 1000 for spot in found["spots"] for value in spot)


def test_colours_are_classes_where_labels_are_known_the_most_frequent_ones(run):
    found, images = feature_map(read_run(run)), open_images("sample", "train")
    labels = [str(images.classes[images.labels[index]]) for index in images.some(LEAST_IMAGES)]
    assert len(found["legend"]) == 8 and found["legend"][-1] == "others"
    for label, group in zip(labels, found["groups"], strict=True):
        assert found["legend"][group] == (label if label in found["legend"] else "others")


def test_groups_that_lie_apart_are_clusters_and_places_of_their_own():
    centres = 20 * torch.eye(8)
    features = (centres[:, None] + torch.randn(8, 12, 8, generator=torch.Generator().manual_seed(1))).flatten(0, 1)
    spots, clusters, how = laid_out(features)
    assert how == "t-SNE"
    assert all(len(set(clusters[12 * group : 12 * group + 12])) == 1 for group in range(8)) and len(set(clusters)) == 8
    middles = spots.float().view(8, 12, 2).mean(1)
    nearest_middle = torch.cdist(spots.float(), middles).argmin(1)
    assert nearest_middle.tolist() == [group for group in range(8) for _ in range(12)]


def test_without_scikit_learn_the_map_is_of_two_components(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    found = feature_map(read_run(run))
    assert found["how"] == "two components" and found["clusters"] == []
    assert "pip install 'pcae[report]'" in found["missing"]


@pytest.mark.parametrize("gone", ["images", "weights", "end"])
def test_what_is_missing_is_said_in_its_place(run, tmp_path, gone):
    there = shutil.copytree(run, tmp_path / "run")
    if gone == "images":
        (there / "config.yaml").write_text((there / "config.yaml").read_text().replace("data: sample", "data: gone"))
    else:
        (there / {"weights": "encoder.safetensors", "end": "summary.json"}[gone]).unlink()
    main(["report", str(there)])
    assert "No map: " in (there / "report.html").read_text()


@pytest.mark.slow
def test_the_map_answers_to_mouse_and_keys(run):
    main(["report", str(run)])
    with opened(run / "report.html") as page:
        canvas, words = page.locator("#map canvas"), page.locator("#pointed")
        canvas.hover()
        first = words.inner_text()
        assert "sample/train/" in first
        canvas.focus()
        for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        assert "sample/train/" in words.inner_text()
        before = canvas.screenshot()
        page.get_by_role("button", name="zoom in").click()
        assert canvas.screenshot() != before
        page.get_by_role("button", name="whole").click()
        assert all(page.locator("[data-image]").evaluate_all("all => all.map(one => one.style.backgroundImage !== '')"))
