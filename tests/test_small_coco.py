"""The small set of real pictures: exact masks of what is seen, the same bytes every time."""

import json

import numpy as np
import pytest
import torch
from benchmarks import small_coco

from pcae.data.coco.annotations import open_coco
from pcae.data.coco.segmentations import boxes_of, to_mask

WORDS = ["--images", "8", "--size", "120", "150", "--categories", "2"]
STAMPS = pytest.mark.skipif(not small_coco.STAMPS.is_dir(), reason="the stamps are not installed")


@STAMPS
def test_masks_are_what_is_seen_and_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, words in (("a", []), ("b", []), ("c", ["--seed", "1"])):
        small_coco.main([str(tmp_path / name), *WORDS, *words])
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in "abc"]
    same = [
        [one.read_bytes() == other.read_bytes() for one, other in zip(files[0], those, strict=True)] for those in files
    ]
    assert len(files[0]) == 10 and all(same[1]) and not any(same[2])
    ids = []
    for split in ("train", "test"):
        data = open_coco(str(tmp_path / "a"), split)
        ids += data.ids
        assert data.images.classes == ["fruit", "bird"] and len(data) == {"train": 6, "test": 2}[split]
        for index in range(len(data)):
            masks = np.stack([to_mask(rle).numpy() for rle in data.rles(index)])
            assert masks.sum(0).max() == 1  # what covers a thing is no part of it
            assert data.areas[data.rows(index)].tolist() == masks.sum((1, 2)).tolist()
            assert np.array_equal(boxes_of(torch.from_numpy(masks)).numpy(), data.corners(index).numpy())
            assert data.read(index).shape == (3, 120, 150)
    assert len(set(ids)) == 8


@STAMPS
def test_outlines_are_near_the_masks(tmp_path):
    small_coco.main([str(tmp_path / "a"), *WORDS])
    small_coco.main([str(tmp_path / "b"), *WORDS, "--polygons"])
    exact, outlined = (open_coco(str(tmp_path / name)) for name in "ab")
    assert isinstance(json.loads(outlined.segmentations[0])[0], list)
    for index in range(len(exact)):
        for one, other in zip(exact.rles(index), outlined.rles(index), strict=True):
            a, b = to_mask(one).bool(), to_mask(other).bool()
            assert (a & b).sum() / a.sum() > 0.8


def test_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(small_coco, "STAMPS", tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="nowhere is not there; apt install tuxpaint-stamps-default"):
        small_coco.main([str(tmp_path / "out")])
