"""What each criterion costs: the teacher's pass and a training step of PCAE, all criteria taking turns in one run.

    python benchmarks/criteria_cost.py [--model vit_base_patch16_224] [--batch 8] [--rounds 9] [--device cpu]

Prints JSON: seconds (median over rounds) and how many times as long as with the method's own criterion, the median over
rounds of the ratio within a round. The paper: matrix decomposition slows training down five times (section 3.2).
"""

import argparse
import json
import platform
from statistics import median
from typing import Any, get_args

import torch
from torch import Tensor

from pcae.evaluation.throughput import ratios, turns
from pcae.methods.pcae import PCAE
from pcae.model.encoder import build_encoder
from pcae.model.tokens import gather, patchify, split
from pcae.settings.choices import CriterionName
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.optimizer import build_optimizer, take_step
from pcae.training.randomness import randomness

USUAL = "mean-similarity"


class Step:
    """PCAE with one criterion, on made-up images."""

    def __init__(self, criterion: Any, model: str, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        encoder = build_encoder(EncoderConfig(model=model))
        self.method = PCAE(encoder, PCAEConfig(criterion=criterion)).to(device)
        self.optimizer = build_optimizer(self.method, OptimizerConfig())
        self.images = torch.randn(batch, 3, 224, 224, device=device)
        self.draw = randomness(0, 0, batch, device)

    def train(self) -> None:
        """One step of training."""
        self.method(self.images, self.draw).loss.backward()
        take_step(self.optimizer)

    def teach(self) -> Tensor:
        """The teacher's part of it."""
        patches = patchify(self.images, self.method.student.patch_size)
        _, hidden_ids = split(self.draw.uniform("mask", patches.shape[1]), self.method.n_visible)
        return self.method.teacher(gather(patches, hidden_ids), hidden_ids, self.draw).features


def described(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Seconds and ratios by criterion."""
    faster = ratios(seconds, USUAL)
    return {
        name: {"seconds": round(median(spent), 4), "times_as_long": round(1 / faster[name], 3)}
        for name, spent in seconds.items()
    }


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--batch", type=int, default=8)
    words.add_argument("--rounds", type=int, default=9)
    words.add_argument("--device", default="cpu")
    said = words.parse_args()
    device = torch.device(said.device)
    steps = {name: Step(name, said.model, said.batch, device) for name in get_args(CriterionName)}
    teacher = turns({name: step.teach for name, step in steps.items()}, device, said.rounds)
    whole = turns({name: step.train for name, step in steps.items()}, device, said.rounds)
    machine = {"threads": torch.get_num_threads(), "machine": platform.machine(), "torch": str(torch.__version__)}
    print(json.dumps(vars(said) | machine | {"teacher": described(teacher), "step": described(whole)}, indent=2))


if __name__ == "__main__":
    main()
