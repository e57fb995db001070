"""`--dry-run`: a few steps of a run, and what the whole of it will take; nothing is written."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from pcae.evaluation.memory import peak_bytes
from pcae.evaluation.throughput import wait_for
from pcae.results import Block, RunSummary, Table
from pcae.runs.data_wait import advice
from pcae.runs.run import TrainingRun
from pcae.runs.task import Task
from pcae.training.loop import Batch, Progress, loop
from pcae.training.randomness import StepRandom, randomness

WARM_UP = 2
STEPS = 5
"""Steps that are timed, after those of the warm-up."""
HEADROOM = 0.9
"""Share of the memory that a batch may fill: allocators leave gaps."""


class Forecast(RunSummary):
    """What a run would take."""

    def blocks(self) -> list[Block]:
        """The forecast, with a remedy where the run would wait for data."""
        largest, tried = self["largest_micro_batch"], self["micro_batch"]
        rows = [
            ["images/s", f"{self['images_per_second']:.1f}"],
            ["waiting for data", f"{self['data_wait_share']:.0%}"],
            [f"the run of {self['steps']} steps", f"{self['hours']:.2f} h"],
            [f"peak memory of a micro-batch of {tried}", f"{self['peak_bytes'] / 2**30:.2f} GiB"],
            ["memory there is", f"{self['memory_bytes'] / 2**30:.2f} GiB"],
            [
                "largest micro-batch that fits",
                f"not known of {tried}" if largest is None else str(largest),
            ],
        ]
        remedy = [] if self["remedy"] is None else [self["remedy"]]
        return [Table("dry run: nothing was written", ["", "forecast"], rows), *remedy]


def forecast(task: Task, peak: Callable[[int], int], multiple: int = 1) -> Forecast:
    """Make a few steps on the run's own images, and work out what the whole run takes. Every process calls it.

    peak: bytes at the peak of a step of this process on so many images; the largest micro-batch is worked out from
    those of two sizes. multiple: what a micro-batch is a multiple of.
    """
    run = task.run
    if run.world.is_main:
        task.announce()
    timed = time_steps(run, task.batches())
    plan, share = run.plan, timed["data_wait_share"]
    sizes = sorted({max(multiple, plan.micro_batch // 2 // multiple * multiple), plan.micro_batch})
    peaks = [peak(size) for size in sizes]
    free = free_bytes(run.world.device, peaks[-1])
    each = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0]) if len(sizes) > 1 else None
    fixed = peaks[-1] - sizes[-1] * (each or 0)
    return Forecast(
        steps=plan.steps - run.progress.step,
        images_per_second=timed["images_per_second"],
        data_wait_share=share,
        remedy=advice(share, run.config, run.images),
        hours=(plan.steps - run.progress.step) * plan.batch_size / timed["images_per_second"] / 3600,
        micro_batch=plan.micro_batch,
        peak_bytes=peaks[-1],
        memory_bytes=free,
        largest_micro_batch=largest(HEADROOM * free - fixed, each, multiple) if each and each > 0 else None,
    )


def largest(room: float, each: float, multiple: int) -> int:
    """How many images fit, a multiple of some number."""
    return max(0, int(room / each)) // multiple * multiple


def peak_of_step(run: TrainingRun, batch: Batch, size: int, tensors: Iterable[Tensor]) -> int:
    """Bytes at the peak of the next step of a run, on `size` made-up images, whose memory is that of `tensors`."""
    states = [value for state in run.optimizer.state.values() for value in state.values()]
    held = [*tensors, *run.method.parameters(), *run.method.buffers(), *states]
    progress = Progress(run.progress.step + 1, run.progress.step)
    step = iter([(batch, randomness(run.config.run.seed, progress.step, size, run.world.device))])
    return peak_bytes(
        lambda: loop(run.method, step, run.optimizer, lambda _: 1e-6, progress, [], autocast=run.autocast),
        held,
        run.world.device,
    )


def time_steps(
    run: TrainingRun, stream: Iterator[tuple[Batch, StepRandom]], warm_up: int = WARM_UP, timed: int = STEPS
) -> dict[str, float]:
    """Images per second over all processes, and the share of the time spent waiting for data.

    warm_up: steps that do not count. timed: those that do. Raises ValueError for a run that is over.
    """
    world, left = run.world, run.plan.steps - run.progress.step
    if left < 1:
        raise ValueError(f"out {str(run.config.out)!r} holds this run, and it is over; there is nothing to forecast")
    method = world.wrap(run.method)
    progress, warm_up = Progress(0), min(warm_up, left - 1)
    timed = min(timed, left - warm_up)
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
