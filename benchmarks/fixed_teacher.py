"""What reduction inside a fixed teacher saves: steps of a small student, the teacher reduced and whole, taking turns.

    python benchmarks/fixed_teacher.py [--student vit_tiny_patch16_224] [--teacher vit_base_patch16_224]
        [--mask-ratio 0.75] [--batch 8] [--rounds 5] [--device cpu]

Both students predict as many features an image: those that the reduced teacher keeps, or as many drawn at random of a
whole one's. Weights are random, images made up: neither matters to speed. Prints JSON: images per second (median over
rounds), how many times as fast as with the whole teacher (median over rounds of the ratio within a round), and the
seconds of the teacher's pass alone.
"""

import argparse
import json
import platform
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pcae.evaluation.throughput import ratios, turns
from pcae.methods.pcae import PCAE
from pcae.model.encoder import build_encoder, config_of, create_vit
from pcae.model.tokens import patchify, split
from pcae.settings.methods import PCAEConfig
from pcae.settings.network import DecoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.optimizer import build_optimizer, take_step
from pcae.training.randomness import randomness

WHOLE = "whole"


class Step:
    """PCAE with a fixed teacher, on made-up images."""

    def __init__(self, config: PCAEConfig, said: argparse.Namespace) -> None:
        torch.manual_seed(0)
        teacher = create_vit(config_of(said.teacher, 224), channels=3, num_classes=0)
        decoder = DecoderConfig(decoder_width=192, decoder_depth=2, decoder_heads=3)
        self.method = PCAE(build_encoder(said.student, 224), config, decoder, teacher).to(said.device)
        self.optimizer = build_optimizer(self.method, OptimizerConfig())
        self.images = torch.randn(said.batch, 3, 224, 224, device=said.device)
        self.draw = randomness(0, 0, said.batch, torch.device(said.device))

    def train(self) -> None:
        """One step of training."""
        self.method(self.images, self.draw).loss.backward()
        take_step(self.optimizer)

    def teach(self) -> Tensor:
        """The teacher's part of it."""
        patches = patchify(self.images, self.method.student.patch_size)
        _, hidden_ids = split(self.draw.uniform("mask", patches.shape[1]), self.method.n_visible)
        return self.method.targets(patches, hidden_ids, self.draw).features


def described(seconds: dict[str, list[float]], batch: int) -> dict[str, Any]:
    """Images a second and ratios by row."""
    faster = ratios(seconds, WHOLE)
    return {
        name: {"images_per_second": round(batch / median(spent), 2), "times_as_fast": round(faster[name], 3)}
        for name, spent in seconds.items()
    }


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--student", default="vit_tiny_patch16_224")
    words.add_argument("--teacher", default="vit_base_patch16_224")
    words.add_argument("--mask-ratio", type=float, default=0.75)
    words.add_argument("--batch", type=int, default=8)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--device", default="cpu")
    said = words.parse_args()
    reduced = Step(PCAEConfig(mask_ratio=said.mask_ratio), said)
    whole = PCAEConfig(mask_ratio=said.mask_ratio, stages=0, random_targets=reduced.method.counts[-1])
    steps = {WHOLE: Step(whole, said), "reduced": reduced}
    device = torch.device(said.device)
    training = turns({name: step.train for name, step in steps.items()}, device, said.rounds)
    teaching = turns({name: step.teach for name, step in steps.items()}, device, said.rounds)
    machine = {"threads": torch.get_num_threads(), "machine": platform.machine(), "torch": str(torch.__version__)}
    tokens = {name: step.method.counts for name, step in steps.items()}
    rows = {"step": described(training, said.batch), "pass": described(teaching, said.batch)}
    print(json.dumps(vars(said) | machine | {"teacher_tokens": tokens, **rows}, indent=2))


if __name__ == "__main__":
    main()
