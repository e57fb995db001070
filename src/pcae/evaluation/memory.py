"""How much memory a training step takes at its peak."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from pcae.training.sharding import local


def peak_bytes(step: Callable[[], object], held: Iterable[Tensor], device: torch.device) -> int:
    """Bytes of `held`, the tensors that a step works on, and of all that it makes alive at its peak.

    On CUDA the allocator says what came on top. Elsewhere storages are followed from operator to operator: what a
    kernel takes for itself inside does not count. Of tensors that are split over processes this one's share counts;
    there, what is gathered for a while counts until the end.
    """
    held = [local(tensor) for tensor in held]
    if device.type == "cuda":
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before + sum(storages.values())
    with Alive(held) as alive:
        step()
    return alive.peak


def kept_bytes(forward: Callable[[], Tensor], there: Iterable[Tensor]) -> int:
    """Bytes of all that a forward pass keeps for the backward pass, each storage once; `there` does not count."""
    own = {tensor.untyped_storage().data_ptr() for tensor in there}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a node that keeps its own result would keep itself, and all of the graph

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(kept.values())


class Alive(TorchDispatchMode):
    """Counts the bytes of storages from the operator that makes them until they are freed."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0
        for tensor in held:
            self.note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.note, result)
        return result

    def note(self, tensor: Tensor) -> None:
        """A tensor is there: its storage counts, once."""
        storage = local(tensor).untyped_storage()
        place = storage._cdata
        if place not in self.sizes:
            self.sizes[place] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.forget, place)

    def forget(self, place: int) -> None:
        """A storage is gone."""
        self.now -= self.sizes.pop(place)
