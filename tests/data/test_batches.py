from collections import Counter

import pytest
import torch

from pcae.data import batches
from pcae.data.batches import MicroBatches, image_at, pixel_statistics, scanning_workers, training_loader
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles


def order(rank=0, processes=1, accumulation=1, start=0, images=10, batch=4, steps=5):
    return list(MicroBatches(images, 7, batch, start, steps, rank, processes, accumulation))


def test_every_epoch_has_every_image_once_and_its_own_order():
    epochs = [[image_at(epoch * 10 + place, 10, 7) for place in range(10)] for epoch in range(3)]
    assert all(Counter(epoch) == Counter(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_processes_and_micro_batches_share_the_global_batch(processes, accumulation):
    whole = order()
    parts = [order(rank, processes, accumulation) for rank in range(processes)]
    for step, batch in enumerate(whole):
        rows = [
            item for part in parts for micro in part[step * accumulation : (step + 1) * accumulation] for item in micro
        ]
        assert rows == batch


def test_a_resumed_run_reads_what_the_unbroken_one_would():
    assert order(start=3) == order()[3:]


@pytest.mark.parametrize("side", [28, 40])
def test_workers_change_nothing(side):
    """Cropped a batch at a time and one by one."""
    images = open_images("sample")
    crops = RandomCrops(images, (side, side), (0.2, 1.0), seed=1)
    steps = MicroBatches(len(images), 1, 6, 0, 2, 0, 1, 1)
    alone, by_two = (
        torch.stack([batch.pixels for batch in training_loader(crops, steps, workers, torch.device("cpu"))])
        for workers in (0, 2)
    )
    expected = torch.stack([torch.stack([crops[item] for item in batch]) for batch in steps])
    assert torch.equal(alone, by_two) and (alone.float() - expected.float()).abs().max() <= (2 if side == 28 else 0)


def test_statistics_are_those_of_the_pixels():
    images = open_images("sample", "test")
    mean, std = pixel_statistics(images, (28, 28), BadFiles(images, 0.0))
    pixels = torch.from_numpy(images.items.copy()).double() / 255
    assert mean == pytest.approx([pixels.mean().item()]) and std == pytest.approx([pixels.std(correction=0).item()])


@pytest.mark.parametrize(("processes", "expected"), [("1", 8), ("2", 4), ("16", 1)])
def test_processes_of_a_machine_share_its_cores_for_reading(tmp_path, monkeypatch, processes, expected):
    (tmp_path / "one.png").touch()
    monkeypatch.setattr(batches, "count_cores", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert scanning_workers(open_images(str(tmp_path)), 10_000) == expected
