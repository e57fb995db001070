"""Batches on the device, the next one on its way there while a step runs."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pcae.data.unreadable import Batch


def on_device(loader: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches of a loader, in its order, with their tensors on the device; on CUDA, copied ahead (`ahead`)."""
    if device.type == "cuda":
        return ahead(loader, device)
    return (batch.to(device) for batch in loader)


def ahead(loader: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches of a loader, each copied from pinned memory on a stream of its own while the one before is used.

    The loader is one batch ahead: what it raises comes before the batch that it gave last. Only the order of calls is
    tested, on a CPU, whose streams do nothing; runs on a GPU went through it, what it gains there is not measured.
    """
    streams = torch.get_device_module(device)
    copying, present = streams.Stream(device), None
    for batch in chain(loader, [None]):
        training = streams.current_stream(device)
        training.wait_stream(copying)  # before the next copy begins: a step waits for that of its own batch alone
        with streams.stream(copying):
            coming = None if batch is None else batch.to(device)
        if present is not None:
            yield used(present, training)
        present = coming


def used(batch: Batch, stream: Any) -> Batch:
    """A batch whose memory the allocator keeps until a stream, on which it was not made, is done with it."""
    for value in batch:
        if isinstance(value, Tensor) and value.is_cuda:
            value.record_stream(stream)
    return batch
