"""A task of a Slurm step of several is told what torchrun tells its processes."""

import os
import re
from collections.abc import MutableMapping

FIRST_PORT, PORTS = 10_000, 20_000
"""Where the processes meet: below the ports that systems give away themselves."""
NO_STEPS = 4_294_967_000
"""From here on step numbers stand for the script or the shell of an allocation, which are no steps of tasks."""


def join_step(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT for a task that `srun` started
    beside others. torchrun's own stay, inside Slurm too.

    A script of sbatch, a shell of salloc and a step of one task are left alone, whatever the allocation holds.
    docs/scale.md has a script that queues itself again.
    """
    if "RANK" in environment or not is_task_among_others(environment):
        return
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    nodes = environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"]
    tasks = count_tasks(environment)
    by_node = expand_counts(environment.get("SLURM_STEP_TASKS_PER_NODE", str(tasks)))
    environment.setdefault("MASTER_ADDR", first_host(nodes))
    environment.setdefault("MASTER_PORT", str(FIRST_PORT + (101 * job + step) % PORTS))
    environment["WORLD_SIZE"], environment["RANK"] = str(tasks), environment["SLURM_PROCID"]
    environment["LOCAL_WORLD_SIZE"] = str(by_node[int(environment.get("SLURM_NODEID", "0"))])
    environment["LOCAL_RANK"] = environment["SLURM_LOCALID"]


def is_task_among_others(environment: MutableMapping[str, str]) -> bool:
    """Whether `srun` started this process, and others with it."""
    step = int(environment.get("SLURM_STEP_ID", NO_STEPS))
    return step < NO_STEPS and "SLURM_PROCID" in environment and count_tasks(environment) > 1


def count_tasks(environment: MutableMapping[str, str]) -> int:
    """The tasks of the step."""
    return int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS", "1"))


def first_host(nodes: str) -> str:
    """The first host of Slurm's list: node07 of "node[07-09,12],other"."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    if first is None:
        raise ValueError(f"SLURM_STEP_NODELIST names no host, got {nodes!r}")
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0])


def expand_counts(counts: str) -> list[int]:
    """Tasks by node, of Slurm's short form: 8, 8 and 4 of "8(x2),4"."""
    expanded = []
    for part in counts.split(","):
        count, _, times = part.rstrip(")").partition("(x")
        expanded += [int(count)] * int(times or 1)
    return expanded
