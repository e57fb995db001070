"""Parts hold every image once, in order, whoever does them."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcae.data.images import Images
from pcae.data.lazy import Lazy
from pcae.data.shards.shard_list import shard_list
from pcae.sharing.cuts import PartBatches, cut, loader_of, rows_of_a_part


def images_of(count: int, shards: dict[str, int] | None = None) -> Images:
    stream = shard_list(shards, "") if shards else None
    return Images(Lazy(int, range(count)), Lazy(str, range(count)), None, (), 3, stream=stream)


@settings(deadline=None)
@given(count=st.integers(1, 2_000), rows=st.integers(1, 3_000))
def test_parts_of_files_are_as_long_as_asked_for_but_the_last(count, rows):
    parts = cut(images_of(count), rows)
    assert [index for part in parts for index in part] == list(range(count))
    assert {len(part) for part in parts[:-1]} <= {rows} and len(parts[-1]) <= rows


@settings(deadline=None)
@given(counts=st.lists(st.tuples(st.integers(0, 300), st.sampled_from((".tar", ".parquet"))), min_size=1, max_size=12))
def test_tars_stay_whole_and_long_parquets_are_cut(counts):
    shards = {f"{place}{suffix}": count for place, (count, suffix) in enumerate(counts)}
    total = sum(shards.values())
    if not total:
        return
    parts = cut(images_of(total, shards), 100)
    assert [index for part in parts for index in part] == list(range(total))
    ends = dict(zip(shards, np.cumsum(list(shards.values())).tolist(), strict=True))
    for name, end in ends.items():
        inside = range(end - shards[name], end)
        if name.endswith(".tar") and inside:
            assert len([part for part in parts if set(part) & set(inside)]) == 1
    assert all(len(part) <= 100 or len(part) in shards.values() for part in parts)


@pytest.mark.parametrize(
    ("images", "batch", "asked", "expected"),
    [
        (20_000, 64, None, 512),  # the least
        (100_000, 64, None, 1_600),  # 64 parts are 1,563 images each, in whole batches
        (10**8, 64, None, 16_384),  # the most
        (10**8, 100, None, 16_400),
        (10, 4, 6, 8),
    ],
)
def test_parts_are_whole_batches(images, batch, asked, expected):
    assert rows_of_a_part(images, batch, asked) == expected


def read(gone: int | None, index: int):
    from pcae.data.shards.remote import SourceGone
    from pcae.data.unreadable import Read

    if index == gone:
        raise SourceGone("the server does not answer")
    pixels = np.full((3, 2, 2), index % 251, np.uint8)
    import torch

    return Read(torch.from_numpy(pixels), index, {}) if index % 7 else Read(None, index, {index: "it is none"})


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_a_part_come_in_order_whoever_reads(workers, threads):
    parts = [range(start, min(start + 20, 95)) for start in range(0, 95, 20)]
    batches = PartBatches(Lazy(partial(read, None), range(95)), parts, [4, 0, 2], 8, threads)
    seen: dict[int, list[int]] = {}
    for one in loader_of(batches, workers):
        assert one.batch.pixels[:, 0, 0, 0].tolist() == [index % 251 for index in one.batch.indices]
        seen.setdefault(one.part, []).extend(sorted([*one.batch.indices, *one.batch.failed]))
    assert seen == {number: list(parts[number]) for number in (0, 2, 4)}


@pytest.mark.parametrize("threads", [0, 3])
def test_a_source_that_is_gone_ends_its_part_alone(threads):
    parts = [range(start, start + 20) for start in range(0, 60, 20)]
    batches = PartBatches(Lazy(partial(read, 30), range(60)), parts, [0, 1, 2], 8, threads)
    brought = list(loader_of(batches, 0))
    assert [one.fault for one in brought if one.batch is None] == ["the server does not answer"]
    whole = {
        number: sum(
            len(one.batch.indices) + len(one.batch.failed) for one in brought if one.batch and one.part == number
        )
        for number in range(3)
    }
    assert whole == {0: 20, 1: 8, 2: 20}
