"""Batches come in the loader's order, none lost or doubled, and the loader is closed with them."""

import pytest
import torch

from pcae.data.unreadable import Batch
from pcae.training.prefetch import ahead, on_device

CPU = torch.device("cpu")


class Loader:
    """Five batches, of which it says how many were taken and whether it was closed; `torn` is one that fails."""

    def __init__(self, torn: int | None = None) -> None:
        self.torn, self.taken, self.closed = torn, 0, False

    def __iter__(self):
        try:
            for index in range(5):
                if index == self.torn:
                    raise ValueError("torn")
                self.taken += 1
                yield Batch(torch.full((2, 1, 1, 1), index, dtype=torch.uint8), [index] * 2, {index: "why"})
        finally:
            self.closed = True


@pytest.mark.parametrize("by", [ahead, on_device])
def test_all_batches_come_once_and_in_order(by):
    loader = Loader()
    batches = list(by(loader, CPU))
    assert [batch.pixels.flatten().tolist() for batch in batches] == [[index] * 2 for index in range(5)]
    assert [batch.failed for batch in batches] == [{index: "why"} for index in range(5)] and loader.closed


def test_the_next_batch_is_fetched_before_one_is_given():
    for by, taken in ((ahead, 2), (on_device, 1)):
        loader = Loader()
        batches = by(loader, CPU)
        assert loader.taken == 0 and next(batches).indices == [0, 0] and loader.taken == taken


def test_waits_and_copies_take_turns_so_that_a_step_waits_for_its_own_copy_alone(monkeypatch):
    calls = []

    class Stream:
        def wait_stream(self, other):
            calls.append("wait")

    monkeypatch.setattr(torch.cpu, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cpu, "current_stream", lambda device: Stream())
    monkeypatch.setattr(Batch, "to", lambda batch, device: calls.append(f"copy {batch.indices[0]}") or batch)
    for batch in ahead(Loader(), CPU):
        calls.append(f"step {batch.indices[0]}")
    assert calls[:8] == ["wait", "copy 0", "wait", "copy 1", "step 0", "wait", "copy 2", "step 1"]
    assert calls[-5:] == ["wait", "copy 4", "step 3", "wait", "step 4"]


@pytest.mark.parametrize("by", [ahead, on_device])
def test_what_the_loader_raises_passes_through(by):
    loader = Loader(torn=3)
    with pytest.raises(ValueError, match="torn"):
        list(by(loader, CPU))
    assert loader.closed


@pytest.mark.parametrize("by", [ahead, on_device])
def test_closing_it_closes_the_loader(by):
    loader = Loader()
    batches = by(loader, CPU)
    next(batches)
    batches.close()
    assert loader.closed


def test_no_batches_are_none():
    assert list(ahead([], CPU)) == []
