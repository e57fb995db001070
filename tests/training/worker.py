"""What test_distributed starts, alone or under torchrun: a run in float64, so that only the mathematics can differ.

usage: worker.py OUT STEPS RESUME ACCUMULATION
"""

import sys
from pathlib import Path

import torch

from pcae.runs.pretraining import train
from pcae.settings.methods import MethodConfig, TeacherConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.reading import DataConfig
from pcae.settings.run import OptimizerConfig, RunConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.training.distributed import open_world


def config(out: Path, steps: int, resume: str, accumulation: int) -> PretrainConfig:
    return PretrainConfig(
        data="sample",
        out=out,
        resume=resume,
        encoder=EncoderConfig(
            model="vit_tiny_patch16_224", image_size=(28, 28), patch_size=4, width=24, depth=4, heads=2
        ),
        method=MethodConfig(teacher=TeacherConfig(momentum=0.9)),
        decoder=DecoderConfig(decoder_width=16, decoder_depth=1, decoder_heads=2),
        reading=DataConfig(mean=(0.3,), std=(0.35,)),
        optimizer=OptimizerConfig(base_lr=0.03),
        run=RunConfig(
            steps=steps,
            batch_size=8,
            accumulation=accumulation,
            device="cpu",
            checkpoint_every=12,
            keep_checkpoints=9,
            log_every=1,
        ),
    )


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    with open_world("cpu") as world:
        train(config(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])), world)
