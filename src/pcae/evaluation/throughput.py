"""How fast models are, side by side: they take turns, so that a noisy machine disturbs all of them alike."""

import platform
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from random import Random
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

Name = TypeVar("Name", bound=Hashable)


def take_turns(
    models: Mapping[Name, Callable[[Tensor], Tensor]], batch: Tensor, rounds: int, warm_up: int = 1
) -> dict[Name, list[float]]:
    """Seconds of every inference on `batch`, by model, as `turns` has it."""
    with torch.inference_mode():
        return turns({name: partial(model, batch) for name, model in models.items()}, batch.device, rounds, warm_up)


def turns(
    calls: Mapping[Name, Callable[[], object]], device: torch.device, rounds: int, warm_up: int = 1
) -> dict[Name, list[float]]:
    """Seconds of every call, by name: in each round each has one turn; warm-up rounds are not counted.

    Every round has an order of its own, the same every time: who comes after a call that leaves much memory behind, or
    little, would be slower or faster in all rounds.

    Raises ValueError unless there is at least one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    seconds: dict[Name, list[float]] = {name: [] for name in calls}
    for turn in range(warm_up + rounds):
        for name in Random(turn).sample(list(calls), len(calls)):
            spent = seconds_of(calls[name], device)
            if turn >= warm_up:
                seconds[name].append(spent)
    return seconds


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, until its result is there."""
    wait_for(device)
    started = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - started


def device_name(device: torch.device) -> str:
    """What a device is: a GPU's name, or the kind of the machine."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def large_batch(device: torch.device) -> int:
    """Images that inference is measured on at once, where nothing else is asked for."""
    return 16 if device.type == "cpu" else 256


def wait_for(device: torch.device) -> None:
    """Until an accelerator has done all that it was asked for."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def ratios(seconds: Mapping[Name, list[float]], reference: Name) -> dict[Name, float]:
    """How many times as fast as the reference each model is: the median over the rounds of the ratio in the round."""
    return {
        name: median(base / own for base, own in zip(seconds[reference], spent, strict=True))
        for name, spent in seconds.items()
    }
