"""One process, or several started by torchrun or Slurm."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import distributed, nn
from torch.distributed import (
    DistNetworkError,
    DistStoreError,
    HashStore,  # pyright: ignore[reportPrivateImportUsage]
    PrefixStore,  # pyright: ignore[reportPrivateImportUsage]
    Store,  # pyright: ignore[reportPrivateImportUsage]
)
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from pcae.training.sharding import is_split
from pcae.training.slurm import join_step

T = TypeVar("T")
MEETING = timedelta(minutes=5)
"""How long processes wait for all to have started."""
EXCHANGE = "gloo/transport"
"""What stands in the message of an exchange that broke off: the file that found it out."""
ANSWER = timedelta(seconds=1)
"""After so long without an answer, they ask again."""
PATIENCE = timedelta(hours=1)
"""How long they wait for one that is busy alone. Where one has died, what started them (torchrun, or srun with --wait)
ends the others before."""


@dataclass(frozen=True)
class World:
    """This process among all: its rank, their number, its device, how hosts speak without their devices, and what all
    of them read and write without waiting for one another.
    """

    rank: int
    size: int
    device: torch.device
    words: distributed.ProcessGroup | None = None
    store: Store = field(default_factory=HashStore, compare=False)

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wrap(self, method: nn.Module) -> nn.Module:
        """The method with gradients averaged over the processes; itself when there is one, or its weights are split."""
        if self.size == 1 or any(is_split(parameter) for parameter in method.parameters()):
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

    def collect(self, value: T) -> list[T] | None:
        """The values of all processes, in the main one; None in the others."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_main else None
        distributed.gather_object(value, values, group=self.words)
        return values

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process; no device is waited for."""
        if self.size == 1:
            return mine
        said = torch.tensor(int(mine))
        distributed.all_reduce(said, distributed.ReduceOp.MAX, self.words)
        return bool(said)

    def count(self, name: str, more: int = 0) -> int:
        """What all processes have counted under a name since they started, `more` of it now; nobody is waited for."""
        return self.store.add(name, more)

    def check_same(self, value: int, what: str) -> None:
        """Raise ValueError, on all processes, when they do not agree on a whole number."""
        if len(set(self.gather(value))) > 1:
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
def open_world(device: str) -> Iterator[World]:
    """The processes of this run: those that torchrun or a Slurm step started, else this one alone.

    They speak by gloo on CPU, by nccl on CUDA. Raises ValueError when another one of them is gone.
    """
    picked = pick_device(device)
    join_step()
    if "RANK" not in os.environ:
        yield World(0, 1, picked)
        return
    if picked.type == "cuda":  # Slurm may show each task a GPU of its own, which is then the first
        picked = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(picked)
    store, rank, size = meet()
    check_device(store, rank, picked)
    backend = "nccl" if picked.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=size)
    try:
        words = cast(distributed.ProcessGroup, distributed.new_group(timeout=PATIENCE, backend="gloo"))
        yield World(rank, size, picked, words, store)
    except RuntimeError as error:
        if EXCHANGE not in str(error) and not isinstance(error, DistNetworkError):
            raise
        reason = "another process of the run is gone (ended by an error, killed, or its machine lost)"
        raise ValueError(f"{reason}; the same command goes on from what was saved") from error
    finally:
        distributed.destroy_process_group()


def check_device(store: Store, rank: int, device: torch.device) -> None:
    """Raise ValueError where this process has another kind of device than the main one: they would wait for each other
    for ever."""
    if rank == 0:
        store.set("device", device.type)
    first = store.get("device").decode()
    if first != device.type:
        raise ValueError(
            f"this process found the device {device.type} and the first one {first}; mend the driver or leave its "
            f"machine out, or give --device cpu"
        )


def meet() -> tuple[Store, int, int]:
    """What all processes read and write, this one's rank, and their number. Raises ValueError when some are missing."""
    try:
        store, rank, size = next(rendezvous("env://", timeout=MEETING))
        return PrefixStore(word_of_this_start(store, rank, size), store), rank, size
    except RuntimeError as error:
        size, place = os.environ["WORLD_SIZE"], f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise ValueError(f"{size} processes did not meet at {place}: {str(error).splitlines()[0]}") from error


def word_of_this_start(store: Store, rank: int, size: int) -> str:
    """A word that these processes share, and those of an earlier start did not, whose entries torchrun keeps.

    The main process says a word, the others ask under it until they are answered, as only a main one that lives does.
    """
    own = secrets.token_hex(8)
    if rank == 0:
        store.set("start", own)
        for other in range(1, size):
            store.set(f"{own}/{store.get(f'{own}/{other}').decode()}", "yes")
        return own
    for _ in range(MEETING // ANSWER):
        word = store.get("start").decode()
        store.set(f"{word}/{rank}", own)
        with suppress(DistStoreError):
            store.wait([f"{word}/{own}"], ANSWER)
            return word
    raise RuntimeError("the main process does not answer")
