"""A run that is killed again and again ends with the weights of one that never was, bit for bit.

    python benchmarks/kill_and_resume.py OUT [--kills 20] [--steps 300] [--seed 0]

Pre-trains a small network on the built-in sample on the CPU, once unbroken and once killed by SIGKILL at random
moments, every second time while a checkpoint is being written, with the same command started again after each. Prints
JSON; exit status 1 when a tensor differs. It compares the last checkpoints: student, teacher, decoder and optimizer.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from pcae.training.checkpoint import read
from pcae.training.logging import read_metrics

SETTINGS = {
    "recipe": "sample", "width": 48, "depth": 4, "heads": 2, "decoder-width": 32, "decoder-heads": 2, "batch-size": 8,
    "checkpoint-every": 2, "keep-checkpoints": 2, "log-every": 1, "health-every": 0, "device": "cpu",
}  # fmt: skip
PATIENCE = 120
"""Seconds that a start may take."""


def command(out: Path, steps: int) -> list[str]:
    """The run."""
    settings = [word for name, value in (SETTINGS | {"steps": steps}).items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "pcae", "pretrain", "sample", "--out", str(out), *settings]


def start(out: Path, steps: int) -> subprocess.Popen:
    """Begin it, or go on."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command(out, steps), env=environment, stderr=subprocess.DEVNULL)


def step_of(out: Path) -> int:
    """The last step that was written down."""
    return max((line["step"] for line in read_metrics(out)), default=0)


def writing(out: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any((out / "checkpoints").glob(".step-*"))


def kill(process: subprocess.Popen, out: Path, in_a_save: bool, chance: random.Random) -> dict[str, int | bool]:
    """Kill the run some steps after it began or went on, within a step or within a save."""
    since, end = step_of(out), time.monotonic() + PATIENCE
    target = since + chance.randint(1, 8)
    while step_of(out) < target and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    if in_a_save:
        while not writing(out) and process.poll() is None and time.monotonic() < end:
            pass
    else:
        time.sleep(chance.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {"after_step": step_of(out), "left_a_half_written_file": writing(out)}


def main() -> None:
    """Run, kill, compare and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", type=Path)
    words.add_argument("--kills", type=int, default=20)
    words.add_argument("--steps", type=int, default=300)
    words.add_argument("--seed", type=int, default=0)
    said = words.parse_args()
    chance, killed, unbroken = random.Random(said.seed), said.out / "killed", said.out / "unbroken"
    subprocess.run(command(unbroken, said.steps), check=True, stderr=subprocess.DEVNULL)
    kills = [kill(start(killed, said.steps), killed, bool(number % 2), chance) for number in range(said.kills)]
    subprocess.run(command(killed, said.steps), check=True, stderr=subprocess.DEVNULL)
    name = f"checkpoints/step-{said.steps:08d}.safetensors"
    one, two = (read(folder / name)[0] for folder in (killed, unbroken))
    differ = sorted(key for key in one.keys() | two.keys() if key not in one or not torch.equal(one[key], two[key]))
    print(json.dumps({"kills": kills, "tensors": len(two), "differ": differ}, indent=2))
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
