"""Detections through our writer have pycocotools' own figures, and a case worked out by hand has its own."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pcae.data.coco.annotations import open_coco
from pcae.data.coco.segmentations import to_mask
from pcae.evaluation.coco_metrics import Detections, score, to_results, write_results
from tests.shapes import HEIGHT, WIDTH, annotation, content, make

KINDS = ("bbox", "segm")


def filled(left: int, top: int, width: int, height: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def detection(image: int, category: int, confidence: float, mask: np.ndarray) -> dict:
    """A detection with the box of its mask."""
    one = annotation(0, image, category, mask)
    return {key: one[key] for key in ("image_id", "category_id", "bbox", "segmentation")} | {"score": confidence}


def through_a_file(path, results):
    write_results(path, results)
    return json.loads(path.read_text())


def test_a_case_worked_out_by_hand(tmp_path):
    """Two objects of one category, three detections in order of their scores: the first object itself (overlap 1), a
    wrong one, and 31 of the 50 rows of the second object (overlap 0.62).

    Up to an overlap of 0.6, three of the ten that count, the third one is right: precision 1, 1/2, 2/3 at recall 1/2,
    1/2, 1. The best precision at a recall or above is 1 for the 51 values 0, 0.01, ... 0.50 and 2/3 for the other 50:
    AP (51 + 50 * 2/3) / 101. Above 0.6 it is wrong and recall ends at 1/2: AP 51 / 101. Both objects and all detections
    have between 32 x 32 and 96 x 96 pixels.
    """
    size = (160, 200)
    made = content(1) | {"images": [{"id": 10, "file_name": "0.png", "height": size[0], "width": size[1]}]}
    made["annotations"] = [
        annotation(n, 10, 3, filled(*box, size)) for n, box in ((1, (5, 5, 40, 40)), (2, (90, 90, 50, 50)))
    ]
    found = [(0.9, (5, 5, 40, 40)), (0.8, (90, 5, 40, 40)), (0.7, (90, 90, 50, 31))]
    data = open_coco(str(make(tmp_path, made)))
    results = through_a_file(tmp_path / "r.json", [detection(10, 3, p, filled(*box, size)) for p, box in found])
    both, first = (51 + 50 * 2 / 3) / 101, 51 / 101
    for kind in KINDS:
        scores = score(data, results, kind)
        assert scores.ap50 == pytest.approx(both, abs=1e-9) and scores.ap75 == pytest.approx(first, abs=1e-9)
        assert scores.ap == scores.medium == pytest.approx((3 * both + 7 * first) / 10, abs=1e-9)
        assert scores.small is None and scores.large is None
        assert scores.by_category == {"disc": None, "angle": scores.ap, "bar": None}


def own_figures(annotations: str, results: list[dict], kind: str) -> list[float]:
    """pycocotools' figures, all by its own code; without boxes where masks are compared, so that those are measured."""
    unread = [
        {key: one[key] for key in one if kind == "bbox" or key != "bbox"} for one in json.loads(json.dumps(results))
    ]
    with redirect_stdout(io.StringIO()):
        truth = COCO(annotations)
        evaluation = COCOeval(truth, truth.loadRes(unread), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def noisy(tmp_path, count: int = 25):
    """Objects of three sizes and categories in many images, some crowds, and detections a few pixels off."""
    numbers = np.random.default_rng(0)
    made, size, results = content(count), (220, 260), []
    for image in made["images"]:
        image |= {"height": size[0], "width": size[1]}
    made["annotations"] = []
    for n in range(4 * count):
        side = (20, 60, 110)[n % 3]
        left, top = (int(numbers.integers(0, size[axis] - side - 20)) for axis in (1, 0))
        image, category = 10 + n % (count - 3), (7, 3, 20)[int(numbers.integers(3))]  # the last three have none
        crowd = int(n % 9 == 5)
        made["annotations"].append(
            annotation(n + 1, image, category, filled(left, top, side, side + 9, size), iscrowd=crowd)
        )
        for _ in range(int(numbers.integers(0, 3))):
            shift = numbers.integers(-6, 7, 4)
            box = (max(left + shift[0], 0), max(top + shift[1], 0), side + shift[2], side + 9 + shift[3])
            other = (7, 3, 20)[int(numbers.integers(3))] if numbers.random() < 0.2 else category
            results.append(detection(image, other, float(np.float32(numbers.random())), filled(*map(int, box), size)))
        if n % 5 == 0:
            results.append(detection(10 + n % count, category, float(numbers.random()), filled(9, 9, 30, 30, size)))
    return open_coco(str(make(tmp_path, made))), results


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_pycocotools_own(tmp_path, kind):
    data, results = noisy(tmp_path)
    scores = score(data, through_a_file(tmp_path / "results.json", results), kind)
    figures = [scores.ap, scores.ap50, scores.ap75, scores.small, scores.medium, scores.large]
    expected = own_figures(data.annotations, results, kind)[:6]
    assert figures == pytest.approx(expected, abs=1e-6) and 0.1 < scores.ap < scores.ap50 < 0.95
    assert np.mean(list(scores.by_category.values())) == pytest.approx(scores.ap, abs=1e-9)


def test_the_objects_themselves_as_detections_have_ap_1(tmp_path):
    data, _ = noisy(tmp_path)
    results = []
    for index in range(len(data)):
        objects = np.flatnonzero(~data.crowds[data.rows(index)])
        masks = [to_mask(data.rles(index)[one]) for one in objects]
        found = Detections(
            int(data.ids[index]),
            data.corners(index)[objects],
            torch.from_numpy(data.labels[data.rows(index)][objects]),
            torch.rand(len(objects)),
            torch.stack(masks) if masks else torch.zeros(0, *data.size(index), dtype=torch.uint8),
        )
        results += to_results(found, data.category_ids)
    results = through_a_file(tmp_path / "results.json", results)
    for kind in KINDS:
        scores = score(data, results, kind)
        figures = [scores.ap, scores.ap50, scores.small, scores.medium, scores.large, *scores.by_category.values()]
        assert figures == pytest.approx([1.0] * 8, abs=1e-9)


def test_what_is_written_is_what_was_found(tmp_path):
    data = open_coco(str(make(tmp_path, content(1))))
    boxes = torch.tensor([[0.1, 2.7, 30.3, 41.9], [5.5, 6.25, 7.125, 80.0]])
    masks = torch.from_numpy(np.stack([filled(1, 2, 30, 40), filled(5, 6, 2, 70)])).bool()
    found = Detections(10, boxes, torch.tensor([3, 1]), torch.tensor([0.3, 0.9]), masks)
    read = through_a_file(tmp_path / "results.json", to_results(found, data.category_ids))
    assert [one["category_id"] for one in read] == [20, 7] and {one["image_id"] for one in read} == {10}
    assert torch.equal(torch.tensor([one["score"] for one in read]), found.scores)
    corners = torch.tensor([one["bbox"] for one in read], dtype=torch.float64)
    corners[:, 2:] += corners[:, :2]
    torch.testing.assert_close(corners, boxes.double(), rtol=0, atol=1e-12)
    assert all(torch.equal(to_mask(one["segmentation"]).bool(), mask) for one, mask in zip(read, masks, strict=True))


def test_no_detections_no_objects_and_boxes_only(tmp_path, capsys):
    data, results = noisy(tmp_path)
    nothing = through_a_file(tmp_path / "none.json", [])
    bare = data.subset([len(data) - 1])
    boxes = [{key: one[key] for key in one if key != "segmentation"} for one in results]
    for kind in KINDS:
        assert score(data, nothing, kind).ap == 0.0
        assert score(bare, nothing, kind).ap is None
    assert score(data, boxes, "bbox") == score(data, results, "bbox")
    with pytest.raises(ValueError, match="detections have boxes only, no masks; score them by bbox"):
        score(data, boxes, "segm")
    assert capsys.readouterr().out == ""


def test_a_detection_in_a_crowd_counts_neither_way(tmp_path):
    made = content(1)
    made["annotations"] = [
        annotation(1, 10, 3, filled(5, 5, 30, 30)),
        annotation(2, 10, 3, filled(50, 10, 80, 70), iscrowd=1),
    ]
    found = [detection(10, 3, 0.5, filled(5, 5, 30, 30)), detection(10, 3, 0.9, filled(60, 20, 20, 20))]
    with_crowd = open_coco(str(make(tmp_path, made)))
    del made["annotations"][1]
    without = open_coco(str(make(tmp_path, made)))
    for kind in KINDS:
        assert score(with_crowd, found, kind).ap == pytest.approx(1.0, abs=1e-9)
        assert score(without, found, kind).ap == pytest.approx(0.5, abs=1e-9)
