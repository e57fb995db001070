"""The order of a stream: each sample once an epoch, whoever reads, from wherever it goes on."""

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcae.data.shards.lanes import Lanes, count_lanes


def rows(lanes: Lanes, lane: int, number: int = 0):
    """A lane's samples as (shard, row), in the order in which they are shown, from one on."""
    for block, place in lanes.blocks(lane, number):
        there = list(block.rows())
        yield from (there[index] for index in block.order[place:])


@st.composite
def streams(draw: st.DrawFn) -> Lanes:
    counts = draw(st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(sum))
    lanes = draw(st.integers(1, min(sum(counts), 7)))
    return Lanes(np.array(counts), lanes, draw(st.integers(1, 6)), draw(st.integers(0, 2**63 - 1)))


def every(lanes: Lanes) -> Counter:
    return Counter((shard, row) for shard, count in enumerate(lanes.counts.tolist()) for row in range(count))


@given(streams())
def test_every_sample_stands_once_in_each_epoch_of_all_lanes(lanes):
    size = [len(lanes.part(lane)) for lane in range(lanes.lanes)]
    assert sum(size) == lanes.total and max(size) - min(size) <= 1
    for epoch in range(2):
        seen: Counter = Counter()
        for lane in range(lanes.lanes):
            seen.update(islice(rows(lanes, lane, epoch * size[lane]), size[lane]))
        assert seen == every(lanes)


@given(streams(), st.integers(0, 60))
def test_going_on_anywhere_gives_what_the_unbroken_lane_gives(lanes, number):
    lane = number % lanes.lanes
    assert list(islice(rows(lanes, lane, number), 20)) == list(islice(rows(lanes, lane), number, number + 20))


@given(streams())
def test_a_lane_reads_its_shards_one_after_the_other_in_stored_order(lanes):
    """So that each is opened once an epoch, and walked through from its begin to its end."""
    for lane in range(lanes.lanes):
        size = len(lanes.part(lane))
        there = [row for block, _ in islice(lanes.blocks(lane, 0), -(-size // lanes.shuffle)) for row in block.rows()]
        assert len(there) == size
        shards = [shard for shard, _ in there]
        assert all(a == b or a not in shards[place:] for place, (a, b) in enumerate(pairwise(shards), 1))
        assert all(a[1] + 1 == b[1] for a, b in pairwise(there) if a[0] == b[0])


def test_epochs_and_seeds_have_orders_of_their_own_and_blocks_are_shuffled():
    lanes = Lanes(np.full(20, 10), 2, 8, 5)
    first, second = (list(islice(rows(lanes, 0, number), 100)) for number in (0, 100))
    other = list(islice(rows(Lanes(lanes.counts, 2, 8, 6), 0), 100))
    assert len({tuple(first), tuple(second), tuple(other)}) == 3
    block, _ = next(lanes.blocks(0, 0))
    assert sorted(block.order) == list(range(8)) != block.order
    assert list(islice(rows(Lanes(lanes.counts, 2, 1, 5), 0), 10)) == list(
        next(Lanes(lanes.counts, 2, 10, 5).blocks(0, 0))[0].rows()
    )


def test_a_billion_samples_are_placed_without_any_of_them():
    lanes = Lanes(np.full(100_000, 10_000), 8_000, 64, 1)
    block, place = next(lanes.blocks(7_999, 3 * 125_000 + 100))
    assert place == 36 and len(list(block.rows())) == 64
    assert lanes.place(7_999, 3 * 125_000 + 100) == (3, 1, 36)


@pytest.mark.parametrize(
    ("asked", "batch", "parts", "images", "expected"),
    [(None, 1024, 8, 10**6, 64), (None, 96, 2, 999, 32), (None, 10, 1, 99, 2), (1000, 4000, 1000, 10**6, 1000)],
)
def test_lanes_are_as_many_as_fit_up_to_64(asked, batch, parts, images, expected):
    assert count_lanes(asked, batch, parts, images) == expected


@pytest.mark.parametrize(
    ("asked", "batch", "parts", "images", "message"),
    [
        (0, 8, 1, 99, r"^lanes must be at least 1 and divide batch_size 8, got 0$"),
        (3, 8, 1, 99, r"divide batch_size 8, got 3$"),
        (
            None,
            3_000,
            1_000,
            10**6,
            r"^lanes 8 must be a multiple of processes x accumulation, 1000; give --lanes 1000",
        ),
        (8, 8, 1, 7, r"^lanes 8 are more than the 7 images; give fewer --lanes$"),
    ],
)
def test_lanes_that_do_not_fit_are_refused_with_the_remedy(asked, batch, parts, images, message):
    with pytest.raises(ValueError, match=message):
        count_lanes(asked, batch, parts, images)
