"""How fast models are, side by side: they take turns, so that a noisy machine disturbs all of them alike."""

import time
from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

Name = TypeVar("Name", bound=Hashable)


def take_turns(
    models: Mapping[Name, Callable[[Tensor], Tensor]], batch: Tensor, rounds: int, warm_up: int = 1
) -> dict[Name, list[float]]:
    """Seconds of every call with `batch`, by model: in each round every model has one turn; warm-up rounds not counted.

    Raises ValueError unless there is at least one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    seconds: dict[Name, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for turn in range(warm_up + rounds):
            for name, model in models.items():
                spent = seconds_of(model, batch)
                if turn >= warm_up:
                    seconds[name].append(spent)
    return seconds


def seconds_of(model: Callable[[Tensor], Tensor], batch: Tensor) -> float:
    """Seconds of one call, until its result is there."""
    wait_for(batch.device)
    started = time.perf_counter()
    model(batch)
    wait_for(batch.device)
    return time.perf_counter() - started


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
