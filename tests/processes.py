"""What tests start beside themselves: a process, the processes of a run, those of torchrun, the tasks of a Slurm step.

They come from a server that has imported torch, so that each is there in a moment instead of in seconds.
"""

import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing import get_context, parent_process, set_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from pcae.training.checkpoint import read
from pcae.training.logging import read_metrics

TINY = [
    "--recipe", "sample", "--width", "24", "--depth", "4", "--heads", "2", "--decoder-width", "16",
    "--decoder-heads", "2", "--batch-size", "8", "--device", "cpu", "--health-every", "0", "--log-every", "1",
    "--keep-checkpoints", "99",
]  # fmt: skip
ROOT = Path(__file__).parents[1]
SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(
    ["pcae.cli", "pcae.runs.pretraining", "pcae.runs.finetuning", "torch.distributed.run", "torch.distributed.fsdp"]
)


def run_module(words: list[str], variables: dict[str, str], folder: Path, out: str, err: str) -> None:
    """`python -m WORDS` in this process and in a folder, with what it says in files; it ends with who started it."""
    threading.Thread(target=end_with, args=(parent_process(),), daemon=True).start()
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    set_start_method(None, force=True)  # readers are started as Python usually does, not by this server
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def end_with(starter: BaseProcess | None) -> None:
    """End this process when the one that asked for it is gone, which a killed pytest does not see to."""
    if starter is not None:
        starter.join()
        os._exit(1)


class Started:
    """A process that was started, with the part of subprocess.Popen that is used here."""

    def __init__(self, words: list[str], variables: dict[str, str], folder: Path) -> None:
        self.files: list[Path] = []
        for name in ("out-", "err-"):
            number, path = tempfile.mkstemp(prefix=name)
            os.close(number)
            self.files.append(Path(path))
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
        said = map(str, self.files)
        self.process = SERVER.Process(target=run_module, args=(words, environment, folder, *said))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended by itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Standard output and error, at its end; once."""
        self.process.join(timeout)
        out, err = (path.read_text(errors="replace") for path in self.files)
        for path in self.files:
            path.unlink()
        if self.returncode is None:
            self.process.kill()
            raise AssertionError(f"no end after {timeout} seconds: {err}")
        return out, err


def start(words: list[str], folder: Path = ROOT, **variables: str) -> Started:
    """`python -m WORDS` in a folder, with more environment variables."""
    return Started(words, variables, folder)


def together(words: list[str], processes: int = 2) -> list[Started]:
    """The processes of one run, told what torchrun tells its own where they are several."""
    if processes == 1:
        return [start(words)]
    with socket.create_server(("localhost", 0)) as free:
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    shared |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    return [start(words, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(processes)]


def torchrun(words: list[str], *options: str, processes: int = 2) -> Started:
    """torchrun, whose own processes import torch anew."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *options]
    return start([*launcher, "-m", *words])


def srun(words: list[str], job: int, tasks: int = 2) -> list[Started]:
    """The tasks of a step on this machine, with the variables that Slurm gives them."""
    step = {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost", "SLURM_NODEID": "0"}
    step |= {"SLURM_NTASKS": str(tasks), "SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_STEP_TASKS_PER_NODE": str(tasks)}
    return [start(words, **step, SLURM_PROCID=str(task), SLURM_LOCALID=str(task)) for task in range(tasks)]


def ended(*processes: Started, seconds: float = 300) -> list[tuple[int | None, str]]:
    """Exit status and words of processes that end; where one does not, all of them are killed."""
    try:
        said = [process.communicate(timeout=seconds)[1] for process in processes]
    except BaseException:
        for process in processes:
            process.process.kill()
        raise
    return [(process.returncode, words) for process, words in zip(processes, said, strict=True)]


def succeed(*processes: Started) -> list[str]:
    """Wait for processes that are to end well; returns what they said on standard error."""
    done = ended(*processes)
    assert all(status == 0 for status, _ in done), done
    return [said for _, said in done]


def wait_for_step(out: Path, step: int, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not any(line["step"] >= step for line in read_metrics(out)):
        assert time.monotonic() < end, f"{out} never came to step {step}"
        time.sleep(0.05)


def kill_rank(launcher: Started, rank: int, number: int = signal.SIGKILL) -> None:
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
