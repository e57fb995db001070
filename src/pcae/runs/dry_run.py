"""`--dry-run`: a few steps of a run, and what the whole of it will take; nothing is written."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from pcae.evaluation.throughput import wait_for
from pcae.runs.data_wait import advice
from pcae.runs.run import TrainingRun
from pcae.runs.task import Task
from pcae.terminal import table
from pcae.training.loop import Batch, Progress
from pcae.training.randomness import StepRandom

WARM_UP = 2
STEPS = 5
"""Steps that are timed, after those of the warm-up."""
HEADROOM = 0.9
"""Share of the memory that a batch may fill: allocators leave gaps."""


def forecast(task: Task, peak: Callable[[int], int]) -> dict[str, Any]:
    """Make a few steps on the run's own images, and work out what the whole run takes. Every process calls it.

    peak: bytes at the peak of a step of this process on so many images; the largest micro-batch is worked out from
    those of two sizes.
    """
    run = task.run
    if run.world.is_main:
        task.announce()
    timed = time_steps(run, task.batches())
    plan, share = run.plan, timed["data_wait_share"]
    sizes = sorted({max(1, plan.micro_batch // 2), plan.micro_batch})
    peaks = [peak(size) for size in sizes]
    free = free_bytes(run.world.device, peaks[-1])
    each = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0]) if len(sizes) > 1 else None
    fixed = peaks[-1] - sizes[-1] * (each or 0)
    return {
        "steps": plan.steps - run.progress.step,
        "images_per_second": timed["images_per_second"],
        "data_wait_share": share,
        "remedy": advice(share, run.config, run.images),
        "hours": (plan.steps - run.progress.step) * plan.batch_size / timed["images_per_second"] / 3600,
        "micro_batch": plan.micro_batch,
        "peak_bytes": peaks[-1],
        "memory_bytes": free,
        "largest_micro_batch": max(0, int((HEADROOM * free - fixed) / each)) if each and each > 0 else None,
    }


def time_steps(run: TrainingRun, stream: Iterator[tuple[Batch, StepRandom]]) -> dict[str, float]:
    """Images per second over all processes, and the share of the time spent waiting for data.

    Raises ValueError for a run that is over.
    """
    world, left = run.world, run.plan.steps - run.progress.step
    if left < 1:
        raise ValueError(f"out {str(run.config.out)!r} holds this run, and it is over; there is nothing to forecast")
    method = world.wrap(run.method)
    progress, warm_up = Progress(0), min(WARM_UP, left - 1)
    timed = min(STEPS, left - warm_up)
    for steps in (warm_up, timed):
        wait_for(world.device)
        started, waited = time.perf_counter(), progress.waited
        progress.steps += steps
        run.take_steps(method, stream, progress, [])
        wait_for(world.device)
    seconds = time.perf_counter() - started
    return {
        "images_per_second": timed * run.plan.batch_size / seconds,
        "data_wait_share": (progress.waited - waited) / seconds,
    }


def free_bytes(device: torch.device, ours: int) -> int:
    """Bytes that the run may take: all of a GPU's memory; else what is free of the machine's, `ours` included."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    said = Path("/proc/meminfo")
    if said.is_file():
        lines = dict(line.split(":") for line in said.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024 + ours
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def show_forecast(found: dict[str, Any]) -> None:
    """Print the forecast, with a remedy where the run would wait for data."""
    largest = found["largest_micro_batch"]
    rows = [
        ["images/s", f"{found['images_per_second']:.1f}"],
        ["waiting for data", f"{found['data_wait_share']:.0%}"],
        [f"the run of {found['steps']} steps", f"{found['hours']:.2f} h"],
        [f"peak memory of a micro-batch of {found['micro_batch']}", f"{found['peak_bytes'] / 2**30:.2f} GiB"],
        ["memory there is", f"{found['memory_bytes'] / 2**30:.2f} GiB"],
        ["largest micro-batch that fits", "not known of one image" if largest is None else str(largest)],
    ]
    table("dry run: nothing was written", ["", "forecast"], rows)
    if found["remedy"] is not None:
        print(found["remedy"])
