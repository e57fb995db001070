"""What tests start of several processes: under torchrun, or as the tasks of a Slurm step."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from pcae.training.checkpoint import read
from pcae.training.logging import read_metrics

TINY = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "8", "--device", "cpu", "--health-every", "0", "--log-every", "1",
    "--keep-checkpoints", "99",
]  # fmt: skip


def start(words: list[str], **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen([sys.executable, "-m", *words], env=environment, stderr=subprocess.PIPE, text=True)


def torchrun(words: list[str], *options: str, processes: int = 2) -> subprocess.Popen[str]:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *options]
    return start([*launcher, "-m", *words])


def srun(words: list[str], job: int, tasks: int = 2) -> list[subprocess.Popen[str]]:
    """The tasks of a step on this machine, with the variables that Slurm gives them."""
    step = {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost", "SLURM_NODEID": "0"}
    step |= {"SLURM_NTASKS": str(tasks), "SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_STEP_TASKS_PER_NODE": str(tasks)}
    return [start(words, **step, SLURM_PROCID=str(task), SLURM_LOCALID=str(task)) for task in range(tasks)]


def ended(*processes: subprocess.Popen[str], seconds: float = 120) -> list[tuple[int, str]]:
    """Exit status and words of processes that end."""
    said = [process.communicate(timeout=seconds)[1] for process in processes]
    return [(process.returncode, words) for process, words in zip(processes, said, strict=True)]


def succeed(*processes: subprocess.Popen[str]) -> None:
    for status, said in ended(*processes):
        assert status == 0, said


def wait_for_step(out: Path, step: int, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not any(line["step"] >= step for line in read_metrics(out)):
        assert time.monotonic() < end, f"{out} never came to step {step}"
        time.sleep(0.05)


def kill_rank(launcher: subprocess.Popen[str], rank: int, number: int = signal.SIGKILL) -> None:
    """Kill the process of that rank which torchrun started, or send it another signal."""
    for child in subprocess.check_output(["pgrep", "-P", str(launcher.pid)]).split():
        if f"RANK={rank}".encode() in Path(f"/proc/{int(child)}/environ").read_bytes().split(b"\0"):
            os.kill(int(child), number)
            return
    raise AssertionError(f"torchrun has no process of rank {rank}")


def state(out: Path, step: int) -> dict[str, torch.Tensor]:
    """Weights, optimizer and all else in a checkpoint."""
    return read(out / "checkpoints" / f"step-{step:08d}.safetensors")[0]


def assert_same(one: Path, two: Path, step: int) -> None:
    expected, found = state(one, step), state(two, step)
    assert expected.keys() == found.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []


def assert_close(one: Path, two: Path, step: int) -> None:
    expected, found = state(one, step), state(two, step)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)
