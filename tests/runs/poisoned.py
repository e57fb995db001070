"""`pcae` whose last process has no finite loss in steps 22 to 31, once: python -m tests.runs.poisoned VERB ..."""

import os

import torch

from pcae.cli import main
from pcae.methods.pcae import PCAE
from pcae.training.loop import StepResult

forward, visited = PCAE.forward, set()


def poisoned(self: PCAE, batch: torch.Tensor, random) -> StepResult:
    result = forward(self, batch, random)
    bad = os.environ["RANK"] == "1" and 22 <= random.step < 32 and random.step not in visited
    visited.add(random.step)
    return StepResult(result.loss * torch.nan, result.signals) if bad else result


if __name__ == "__main__":
    torch.set_num_threads(1)
    PCAE.forward = poisoned
    main()
