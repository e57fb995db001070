import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score, top_k_accuracy_score

from pcae.evaluation.accuracy import no_images, tally
from pcae.evaluation.throughput import ratios, take_turns
from pcae.pictures.accuracy_speed import draw_curve
from pcae.pictures.confusion import draw_confusion


def test_counts_are_scikit_learns_and_parts_add_up():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(300, 8, generator=generator), torch.randint(8, (300,), generator=generator)
    found = tally(logits, labels)
    assert found.top1 == pytest.approx(top_k_accuracy_score(labels, logits, k=1))
    assert found.top5 == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert np.array_equal(found.confusion.numpy(), confusion_matrix(labels, logits.argmax(1), labels=range(8)))
    parts = no_images(8) + tally(logits[:100], labels[:100]) + tally(logits[100:], labels[100:])
    assert (parts.top1, parts.top5, parts.images) == (found.top1, found.top5, 300)


def test_balanced_accuracy_and_recalls_are_scikit_learns_without_absent_classes():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(200, 6, generator=generator), torch.randint(5, (200,), generator=generator)
    labels[labels == 2] = 3  # classes 2 and 5 have no image
    found, taken = tally(logits, labels), logits.argmax(1)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, taken))
    details = found.details(list("abcdef"))
    recalls = recall_score(labels, taken, labels=[0, 1, 3, 4], average=None)
    assert [row["recall"] for row in details["by_class"].values()] == pytest.approx(recalls)
    assert list(details["by_class"]) == list("abde") and details["absent_classes"] == ["c", "f"]
    of_a = details["by_class"]["a"]
    expected = binomtest(round(of_a["recall"] * of_a["images"]), of_a["images"]).proportion_ci(method="wilson")
    assert of_a["interval"] == pytest.approx((expected.low, expected.high))
    for name, (low, high) in details["intervals"].items():
        assert 0 <= low < found.numbers()[name] < high <= 1


def test_with_fewer_than_five_classes_all_count():
    assert tally(torch.randn(20, 3), torch.randint(3, (20,))).top5 == 1


@pytest.mark.parametrize("classes", [2, 15, 30, 60])
def test_pictures_of_any_number_of_classes_and_odd_names(tmp_path, classes):
    names = [["$x_1$", "a_b", "ünï\udcff", "x" * 300][place % 4] for place in range(classes)]
    draw_confusion(tmp_path / "a.svg", torch.eye(classes, dtype=torch.int64) * 3, names)
    text = (tmp_path / "a.svg").read_text()
    assert f"100.0% of {3 * classes} images right" in text and ("x_1" in text) == (classes <= 40)
    draw_curve(tmp_path / "b.svg", [0.0, 0.4], [0.9, 0.8], {"batch 1": [1.0, 1.5], "batch 16": [2.0, 4.0]})
    assert all(word in (tmp_path / "b.svg").read_text() for word in ("batch 16", "relative to drop ratio 0"))


def test_models_take_turns_and_ratios_are_medians_within_rounds():
    calls: list[str] = []
    models = {name: lambda batch, name=name: calls.append(name) or batch for name in "ab"}
    seconds = take_turns(models, torch.zeros(1), rounds=3, warm_up=1)
    turns = ["".join(calls[place : place + 2]) for place in range(0, 8, 2)]
    assert len(calls) == 8 and set(turns) == {"ab", "ba"}  # each once a round, not always in the same order
    assert all(len(spent) == 3 for spent in seconds.values())
    assert ratios({"a": [2.0, 4.0, 90.0], "b": [1.0, 1.0, 90.0]}, "a") == {"a": 1.0, "b": 2.0}
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        take_turns(models, torch.zeros(1), rounds=0)
