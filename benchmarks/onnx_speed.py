"""How fast exported models of several drop ratios run in ONNX Runtime on the CPU, side by side in interleaved rounds.

usage: python benchmarks/onnx_speed.py [--model NAME] [--size 224] [--batch 16 1] [--drop-ratio 0 0.1 0.2 0.3 0.4]
       [--rounds 15] [--threads N]
"""

import argparse
import json
import platform
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from pcae.data.batches import count_cores
from pcae.evaluation.throughput import ratios, take_turns
from pcae.model.pretrained import Pretrained, PretrainedFacts, build_model
from pcae.settings.network import EncoderConfig
from pcae.weights.export.graphs import Onnx


def make(name: str, size: int) -> Pretrained:
    """A classifier of 1,000 classes; what its weights are does not matter for its speed."""
    classes = [str(index) for index in range(1000)]
    config = EncoderConfig(model=name, image_size=(size, size), channels=3)
    facts = PretrainedFacts(encoder=config, mean=[0.5] * 3, std=[0.25] * 3, classes=classes, global_pool="avg")
    torch.manual_seed(0)
    return build_model(facts).eval()


def session_of(model: Pretrained, drop_ratio: float, folder: Path, threads: int) -> onnxruntime.InferenceSession:
    """The model at a drop ratio, exported and opened."""
    path = folder / f"{drop_ratio:g}.onnx"
    Onnx().write(model, drop_ratio, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def call(session: onnxruntime.InferenceSession, images: Tensor) -> Any:
    """One batch."""
    return session.run(["logits"], {"images": images.numpy()})


def measure(sessions: dict[float, onnxruntime.InferenceSession], batch: int, size: int, rounds: int) -> dict[str, Any]:
    """Images per second (median) by drop ratio, and how many times as fast as at the first ratio (median by round)."""
    images = torch.randint(256, (batch, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seconds = take_turns({ratio: partial(call, session) for ratio, session in sessions.items()}, images, rounds, 2)
    faster = ratios(seconds, next(iter(sessions)))
    return {
        f"{ratio:g}": {"images_per_second": round(batch / median(spent), 3), "ratio": round(faster[ratio], 3)}
        for ratio, spent in seconds.items()
    }


def benchmark() -> None:
    """Export, take turns, print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--size", type=int, default=224)
    words.add_argument("--batch", type=int, nargs="+", default=[16, 1])
    words.add_argument("--drop-ratio", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3, 0.4])
    words.add_argument("--rounds", type=int, default=15)
    words.add_argument("--threads", type=int, default=count_cores())
    asked = words.parse_args()
    model = make(asked.model, asked.size)
    with tempfile.TemporaryDirectory() as name:
        sessions = {ratio: session_of(model, ratio, Path(name), asked.threads) for ratio in asked.drop_ratio}
        measured = {f"batch {batch}": measure(sessions, batch, asked.size, asked.rounds) for batch in asked.batch}
    machine = {"cores": count_cores(), "threads": asked.threads, "machine": platform.machine()}
    versions = {package: version(package) for package in ("onnxruntime", "torch", "timm")}
    print(
        json.dumps(
            {"model": asked.model, "size": asked.size, "rounds": asked.rounds, **measured, **machine, **versions}
        )
    )


if __name__ == "__main__":
    benchmark()
