"""One process, or several started by torchrun."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among all: its rank, their number, its device, and how hosts speak without their devices."""

    rank: int
    size: int
    device: torch.device
    words: distributed.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wrap(self, method: nn.Module) -> nn.Module:
        """The method with gradients averaged over the processes; itself when there is one."""
        if self.size == 1:
            return method
        ids = [self.device.index] if self.device.type == "cuda" else None
        wrapped = DistributedDataParallel(method, device_ids=ids)
        wrapped.broadcast_buffers = False  # buffers never change; as an argument, torch 2.15 warns of it
        return wrapped

    def main_first(self, make: Callable[[], T]) -> T:
        """What `make` returns; the main process runs it before the others, so that only one downloads.

        When it raises there, all processes raise ValueError with the same words.
        """
        made = self._main(make, hand_on=False)
        return cast(T, made) if self.is_main else make()

    def from_main(self, make: Callable[[], T]) -> T:
        """What `make` returns in the main process, which alone runs it.

        When it raises there, all processes raise ValueError with the same words.
        """
        return cast(T, self._main(make, hand_on=True))

    def _main(self, make: Callable[[], T], hand_on: bool) -> T | None:
        made, failure = None, None
        if self.is_main:
            try:
                made = make()
            except Exception as error:  # whatever it is, the others wait to be told
                if self.size == 1:
                    raise
                failure = error
        if self.size == 1:
            return made
        told = [made if hand_on else None, failure and (str(failure) or type(failure).__name__)]
        distributed.broadcast_object_list(told, device=self.device)
        if failure is not None and not isinstance(failure, ValueError | OSError):
            raise failure
        if told[1]:
            raise ValueError(told[1])
        return made if self.is_main else cast(T, told[0])

    def gather(self, value: T) -> list[T]:
        """The values of all processes."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process; no device is waited for."""
        if self.size == 1:
            return mine
        said = torch.tensor(int(mine))
        distributed.all_reduce(said, distributed.ReduceOp.MAX, self.words)
        return bool(said)

    def check_same(self, value: int, what: str) -> None:
        """Raise ValueError, on all processes, when they do not agree on a whole number."""
        mean = self.mean(torch.tensor(float(value), device=self.device)).item()
        spread = self.mean(torch.tensor(abs(value - mean), device=self.device)).item()
        if spread > 0:
            raise ValueError(f"processes differ in the {what}")

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of `value` over the processes."""
        if self.size == 1:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total / self.size


def pick_device(name: str) -> torch.device:
    """The named device; "auto" is the first accelerator, else the CPU. Raises ValueError when it is not there."""
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} is not usable here: {str(error).splitlines()[0]}") from error
    return device


@contextmanager
def world(device: str) -> Iterator[World]:
    """The processes of this run: torchrun's where it started them (gloo on CPU, nccl on CUDA), else this one alone."""
    picked = pick_device(device)
    if "RANK" not in os.environ:
        yield World(0, 1, picked)
        return
    if picked.type == "cuda":
        picked = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(picked)
    distributed.init_process_group("nccl" if picked.type == "cuda" else "gloo")
    try:
        words = cast(distributed.ProcessGroup, distributed.new_group(backend="gloo"))
        yield World(distributed.get_rank(), distributed.get_world_size(), picked, words)
    finally:
        distributed.destroy_process_group()
