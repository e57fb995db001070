"""Each class drawn alike, by seed and epoch alone."""

from collections import Counter

import pytest
import torch

from pcae.data.balance import balanced_order
from pcae.data.batches import MicroBatches

LABELS = [0] * 30 + [1] * 7 + [3] * 4  # and no image of class 2


def epoch(seed: int, number: int) -> list[int]:
    return balanced_order(LABELS)(len(LABELS), seed, number).tolist()


def test_an_epoch_shows_as_many_images_as_there_are_and_each_class_alike():
    for number in range(5):
        shown = Counter(epoch(0, number))
        classes = Counter(LABELS[image] for image in shown.elements())
        assert shown.total() == 41 and sorted(classes.values()) == [13, 14, 14] and set(classes) == {0, 1, 3}
        for label in (0, 1, 3):
            times = [shown[image] for image in range(41) if LABELS[image] == label]
            assert max(times) - min(times) <= 1


def test_epochs_and_seeds_have_orders_of_their_own_and_all_images_come():
    orders = [epoch(seed, number) for seed in (0, 1) for number in range(12)]
    assert len({tuple(one) for one in orders}) == 24
    assert {image for one in orders[:12] for image in one} == set(range(41))


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (2, 2), (4, 1)])
def test_it_is_the_same_for_any_number_of_processes_and_from_any_step(processes, accumulation):
    def read(rank: int, of: int, micro: int, start: int = 0) -> list[list[tuple[int, int]]]:
        return list(MicroBatches(41, 7, 8, start, 12, rank, of, micro, balanced_order(LABELS)))

    whole, parts = read(0, 1, 1), [read(rank, processes, accumulation) for rank in range(processes)]
    for step, batch in enumerate(whole):
        rows = slice(step * accumulation, (step + 1) * accumulation)
        assert batch == [item for part in parts for micro in part[rows] for item in micro]
    assert read(0, 1, 1, start=5) == whole[5:]  # over the end of an epoch


def test_torchs_random_numbers_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    epoch(0, 0)
    assert torch.rand(1) == expected
