"""Several processes: the same as one, started by Slurm too, ended and started again together."""

import re
import signal
import time
from pathlib import Path

import pytest

from pcae.training.checkpoint import Checkpoints
from tests.bars import make_bars
from tests.processes import (
    TINY,
    assert_close,
    assert_same,
    ended,
    kill_rank,
    srun,
    succeed,
    together,
    torchrun,
    wait_for_step,
)

pytestmark = pytest.mark.slow

STEPS = 200
FINETUNE = [
    "finetune", "sample", "--from-scratch", "--width", "24", "--depth", "4", "--heads", "2", "--image-size", "28", "28",
    "--patch-size", "4", "--batch-size", "8", "--device", "cpu", "--log-every", "1", "--keep-checkpoints", "99",
    "--drop-ratio", "0:0.4", "--drop-start-epochs", "0", "--base-lr", "0.03", "--evaluate-every", "100ep",
]  # fmt: skip
SEVERAL = [
    "finetune", "BARS", *FINETUNE[2:], "--multi-label", "--class-weights", "balanced", "--val-fraction", "0.3",
    "--group-column", "patient", "--channels", "1",
]  # fmt: skip
METHODS = {
    "pcae": ["pretrain", "sample", *TINY, "--base-lr", "0.03", "--momentum", "0.9"],
    "mae": ["pretrain", "sample", *TINY, "--base-lr", "0.03", "--method", "mae"],
    "muon": ["pretrain", "sample", *TINY, "--base-lr", "0.03", "--momentum", "0.9", "--optimizer", "muon"],
    "fine-tuning": FINETUNE,
    "balanced": [*FINETUNE, "--sampler", "balanced", "--class-weights", "balanced"],
    "several labels": SEVERAL,
    "frozen": [*FINETUNE, "--freeze", "2", "--ema", "0.9", "--optimizer", "muon"],
}


def words(out: Path, *more: str) -> list[str]:
    return ["pcae", "pretrain", "sample", *TINY, "--out", str(out), "--steps", str(STEPS), *more]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """A run of two processes that torchrun started and nobody stopped."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    succeed(torchrun(words(out)))
    return out


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_equal_one_and_runs_go_on_in_more_or_fewer(tmp_path, name):
    """After 5, 10 and 15 steps, whatever the micro-batches; 5 steps in two processes, 5 in one and 5 in two."""
    bars = make_bars(tmp_path / "bars", 40)

    def run(out: str, processes: int, accumulation: int, *more: str) -> Path:
        own = [bars if word == "BARS" else word for word in METHODS[name]]
        asked = ["tests.runs.exact", *own, "--out", str(tmp_path / out), "--steps", "15", *more]
        asked += ["--checkpoint-every", "5", "--accumulation", str(accumulation)]
        succeed(*together(asked, processes))
        return tmp_path / out

    def at(run: Path, step: int) -> str:
        return str(run / "checkpoints" / f"step-{step:08d}.safetensors")

    one, two = run("one", 1, 1), run("two", 2, 2)
    for step in (5, 10, 15):
        assert_close(one, two, step)
    fewer = run("fewer", 1, 4, "--resume", at(two, 5))
    assert_close(one, fewer, 10)
    assert_close(one, run("more", 2, 1, "--resume", at(fewer, 10)), 15)


def test_the_tasks_of_a_slurm_step_train_as_torchrun_does_and_go_on_after_sigterm(tmp_path, unbroken):
    """One task hears it, all are saved after the same step and end with 75; the same command goes on."""
    out = tmp_path / "run"
    tasks = srun(words(out), job=71)
    wait_for_step(out, 20)
    tasks[1].send_signal(signal.SIGTERM)
    for status, said in ended(*tasks):
        assert status == 75 and "stopped after step" in said
    assert int((out / "checkpoints" / "last").read_text()[5:13]) < STEPS
    succeed(*srun(words(out), job=71))
    assert_same(unbroken, out, STEPS)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_save_is_waited_for_where_torchrun_ends_all_when_the_first_has_ended(tmp_path, rank):
    out = tmp_path / "run"
    launcher = torchrun(["tests.runs.slow_saves", *words(out, "--steps", "20000")[1:], "--checkpoint-every", "9999"])
    wait_for_step(out, 5)
    kill_rank(launcher, rank, signal.SIGTERM)
    _, said = ended(launcher)[0]
    step = int(re.search(r"stopped after step (\d+) of", said)[1])
    assert [path.name for path in sorted((out / "checkpoints").iterdir())] == ["last", f"step-{step:08d}.safetensors"]
    assert Checkpoints(out / "checkpoints", 1).whole()[0].name == f"step-{step:08d}.safetensors"


@pytest.mark.parametrize("gone", [0, 1])
def test_the_other_tasks_of_one_that_is_killed_end_soon_in_one_line(tmp_path, gone):
    """Though processes that read images for it live a little longer, and hold its connections."""
    tasks = srun(words(tmp_path / "run", "--steps", "20000", "--workers", "1"), job=72 + gone)
    wait_for_step(tmp_path / "run", 5)
    tasks[gone].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    status, said = ended(tasks[1 - gone])[0]
    assert time.monotonic() - killed < 30
    last = said.strip().splitlines()[-1]
    assert status == 2 and "another process of the run is gone" in last and "Traceback" not in said
    ended(tasks[gone])


def test_torchrun_ends_when_one_is_killed_and_the_other_says_so(tmp_path):
    launcher = torchrun(words(tmp_path / "run", "--steps", "20000"))
    wait_for_step(tmp_path / "run", 5)
    kill_rank(launcher, 1)
    killed = time.monotonic()
    status, said = ended(launcher)[0]
    assert time.monotonic() - killed < 60 and status == 1
    assert sum(line.startswith("pcae: another process of the run is gone") for line in said.splitlines()) == 1


def test_what_torchrun_starts_again_goes_on_by_itself(tmp_path, unbroken):
    out = tmp_path / "run"
    launcher = torchrun(words(out, "--checkpoint-every", "50"), "--max-restarts=1")
    wait_for_step(out, 70)
    kill_rank(launcher, 1)
    status, said = ended(launcher)[0]
    assert status == 0, said
    assert "going on from step" in said
    assert_same(unbroken, out, STEPS)


def test_a_main_process_that_fails_alone_says_why_and_the_others_end(tmp_path):
    """What it fails by is a checkpoint that cannot be written."""
    out = tmp_path / "run"
    tasks = srun(words(out, "--steps", "20000", "--checkpoint-every", "50"), job=74)
    wait_for_step(out, 5)
    (out / "checkpoints").write_text("in the way")
    (status, said), (other, others) = ended(*tasks)
    assert status == 2 and "checkpoints" in said.strip().splitlines()[-1]
    assert other == 2 and "another process of the run is gone" in others.strip().splitlines()[-1]
