import os
import subprocess
import sys

import pytest

from pcae.training.slurm import expand_counts, first_host, join_step

STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-08],big3",
    "SLURM_STEP_TASKS_PER_NODE": "4,2(x2)",
}


def told(**variables: str | None) -> dict[str, str]:
    """What a task with other variables is told beside Slurm's own."""
    environment = {name: value for name, value in (STEP | variables).items() if value is not None}
    before = dict(environment)
    join_step(environment)
    assert before.items() <= environment.items()
    return {name: value for name, value in environment.items() if name not in before}


def test_a_task_of_several_is_told_what_torchrun_tells():
    assert told() == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": str(10_000 + (101 * 4711) % 20_000),
    }


def test_all_tasks_of_a_step_meet_at_one_place_and_other_steps_and_jobs_elsewhere():
    place = told()["MASTER_PORT"]
    assert told(SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NODEID="0")["MASTER_PORT"] == place
    others = {told(SLURM_STEP_ID="1")["MASTER_PORT"], told(SLURM_JOB_ID="4712")["MASTER_PORT"]}
    assert len(others | {place}) == 3
    assert all(10_000 <= int(told(SLURM_JOB_ID=str(job))["MASTER_PORT"]) < 32_768 for job in (1, 10**7, 2**32 - 1))


def test_a_place_that_was_chosen_stays():
    assert "MASTER_PORT" not in told(MASTER_ADDR="here", MASTER_PORT="1234")


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0", "WORLD_SIZE": "2"},  # torchrun, which srun started once a node
        {"SLURM_STEP_NUM_TASKS": "1"},  # one task, in an allocation for eight
        {"SLURM_STEP_NUM_TASKS": None, "SLURM_NTASKS": "1"},
        {"SLURM_STEP_ID": None, "SLURM_PROCID": None, "SLURM_STEP_NUM_TASKS": None},  # a shell of salloc
        {"SLURM_STEP_ID": None, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": None},  # a script of sbatch
        {"SLURM_STEP_ID": "4294967291", "SLURM_STEP_NUM_TASKS": None},  # a script where its step has a number
        {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},  # a shell that is a step
    ],
)
def test_what_is_no_task_of_several_goes_on_as_without_slurm(variables):
    assert told(**variables) == {}


def test_outside_slurm_nothing_is_told():
    environment = {"HOME": "/somewhere"}
    join_step(environment)
    assert environment == {"HOME": "/somewhere"}


@pytest.mark.parametrize(
    "nodes, first",
    [
        ("node7", "node7"),
        ("node7,node9", "node7"),
        ("node[07-09,12],other", "node07"),
        ("node[3,5-6]", "node3"),
        ("rack[1-2]node[3-4].site", "rack1node3.site"),
        ("gpu-a[001-128]-ib", "gpu-a001-ib"),
    ],
)
def test_the_first_host_of_a_list(nodes, first):
    assert first_host(nodes) == first


def test_tasks_by_node():
    assert expand_counts("8") == [8]
    assert expand_counts("8(x3),4,2(x2)") == [8, 8, 8, 4, 2, 2]


def test_a_refusal_says_which_task_it_is_of():
    words = [sys.executable, "-m", "pcae", "pretrian"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | STEP)
    assert done.returncode == 2 and done.stderr.startswith("pcae (process 5): unknown verb 'pretrian'")
