"""What the loop is fed: every image cropped, mirrored and normalised once, whatever the way that it comes by."""

import pytest
import torch

from pcae.data.arrays import Cropper, Uncropped, cropper
from pcae.data.augment import Normalise, flip
from pcae.data.batches import MicroBatches, training_loader
from pcae.data.crops import RandomCrops
from pcae.data.images import open_images
from pcae.data.unreadable import BadFiles
from pcae.training.micro_batches import Labelled, feed
from pcae.training.randomness import randomness

CPU, STEPS, BATCH, SEED = torch.device("cpu"), 4, 8, 1
NORMALISE = Normalise([0.3], [0.2], 1)


def crops(scale=(0.2, 1.0)) -> RandomCrops:
    return RandomCrops(open_images("sample"), (28, 28), scale, SEED)


def fed(loader, finish, start=0, accumulation=1, rank=0, processes=1, labels=None):
    own = order(start, accumulation, rank, processes)
    bad_files = BadFiles(finish.crops.images, 0.0)
    return feed(loader, own, NORMALISE, bad_files, finish, mirror=True, device=CPU, labels=labels)


def order(start=0, accumulation=1, rank=0, processes=1):
    return MicroBatches(9000, SEED, BATCH, start, STEPS, rank, processes, accumulation)


def by_loader(finish=None, workers=0, labels=None, **part):
    finish = finish or Cropper(crops())
    loader = training_loader(finish.crops, order(**part), workers, CPU, finish)
    return [batch for batch, _ in fed(loader, finish, labels=labels, **part)]


@pytest.fixture(scope="module")
def whole() -> torch.Tensor:
    """The images of all steps, by the shortest way."""
    return torch.cat(by_loader())


def test_they_are_the_crops_mirrored_and_normalised(whole):
    made = crops()
    for step, items in enumerate(order()):
        noise = randomness(SEED, step, BATCH, CPU).uniform("flip")
        expected = NORMALISE(flip(torch.stack([made[item] for item in items]), noise))
        apart = (whole[step * BATCH :][:BATCH] - expected).abs() * 0.2 * 255
        assert apart.mean() < 0.1 and apart.max() < 2.1


def test_rows_of_images_on_the_device_and_pixels_that_are_cropped_there_give_the_same(whole):
    held = cropper(crops(), CPU, free=10**9)
    assert held.held is not None and torch.equal(torch.cat(by_loader(held)), whole)
    finish = Cropper(crops())
    uncropped = (Uncropped(finish.crops).__getitems__(items) for items in order())
    assert torch.equal(torch.cat([batch for batch, _ in fed(uncropped, finish)]), whole)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_workers_processes_and_micro_batches_change_nothing(whole, workers, processes, accumulation):
    parts = [
        torch.stack(by_loader(workers=workers, rank=rank, processes=processes, accumulation=accumulation))
        for rank in range(processes)
    ]
    rows = [part.view(STEPS, BATCH // processes, 1, 28, 28) for part in parts]
    assert torch.equal(torch.cat(rows, 1).flatten(0, 1), whole)


def test_a_run_that_goes_on_is_fed_what_the_unbroken_one_would_be(whole):
    assert torch.equal(torch.cat(by_loader(start=3)), whole[3 * BATCH :])


def test_labels_are_those_of_the_images(whole):
    labels = torch.tensor(open_images("sample").labels)
    batches = by_loader(labels=labels)
    assert all(isinstance(batch, Labelled) for batch in batches)
    assert torch.cat([batch.labels for batch in batches]).tolist() == [labels[i] for items in order() for i, _ in items]
