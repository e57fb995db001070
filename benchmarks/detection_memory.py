"""What memory a detector takes with and without windows: one training step, and one image predicted.

    python benchmarks/detection_memory.py [--model vit_base_patch16_224] [--train 512] [--predict 1024] [--window 14]

Prints a table, or JSON with --json: peak resident memory in GiB and seconds, each measured by a process of its own. The
weights are random; a training step is forward, backward and AdamW for one image with 20 objects. `start` is what the
process has taken before the step, with PyTorch, weights, gradients and the optimizer's state, as after a step before.
`checkpoint` is gradient checkpointing in the encoder.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pcae.model.compiled import checkpoint_blocks
from pcae.model.encoder import build_encoder
from pcae.settings.network import EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.detection import Annotated, Detection, detection_groups
from pcae.training.optimizer import build_optimizer, take_step
from pcae.training.randomness import randomness

OBJECTS = 20


def peak_gib() -> float:
    """The most memory that this process has had so far, in GiB."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def objects(side: int) -> dict[str, Tensor]:
    """Squares of a tenth to a third of the image, here and there."""
    generator = torch.Generator().manual_seed(0)
    sizes = (side * (0.1 + 0.2 * torch.rand(OBJECTS, generator=generator))).long()
    corners = (torch.rand(OBJECTS, 2, generator=generator) * (side - sizes).view(-1, 1)).long()
    boxes = torch.cat([corners, corners + sizes.view(-1, 1)], dim=1)
    masks = torch.zeros(OBJECTS, side, side, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    return {"boxes": boxes.float(), "labels": torch.arange(OBJECTS) % 80 + 1, "masks": masks}


def measure(model: str, work: str, side: int, window: int | None, checkpoint: bool) -> dict[str, float]:
    """Peak memory and time of one piece of work, in this process."""
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(model=model))
    config = DetectionConfig(window=window, score_threshold=0.0)  # a hundred objects are found, whatever they are
    eighty = {"classes": 80, "mean": [0.5] * 3, "std": [0.25] * 3}
    detection = Detection(encoder, config, **eighty, min_size=side, max_size=side)
    if checkpoint:
        checkpoint_blocks(detection)
    image, optimizer = torch.rand(3, side, side), None
    if work == "train":
        optimizer = build_optimizer(detection, OptimizerConfig(), detection_groups(detection, 0.05, 0.7))
        for parameter in detection.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        take_step(optimizer)
    start, began = peak_gib(), time.perf_counter()
    if optimizer:
        random = randomness(0, 0, 1, torch.device("cpu"))
        detection(Annotated([image], [objects(side)]), random).loss.backward()
        take_step(optimizer)
    else:
        detection.eval().predict([image])
    return {"start": start, "peak": peak_gib(), "seconds": time.perf_counter() - began}


def in_a_fresh_process(model: str, work: str, side: int, window: int | None, checkpoint: bool) -> dict[str, Any]:
    """The same, measured by a process that has done nothing else."""
    asked = {"model": model, "work": work, "side": side, "window": window, "checkpoint": checkpoint}
    command = [sys.executable, __file__, "--measure", json.dumps(asked)]
    done = subprocess.run(command, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    return asked | {name: round(value, 2) for name, value in json.loads(done.stdout).items()}


def table(rows: list[dict[str, Any]]) -> Table:
    """The rows as a table."""
    shown = Table("work", "image", "window", "checkpoint", "start, GiB", "peak, GiB", "seconds")
    for row in rows:
        numbers = (f"{row[name]:.2f}" for name in ("start", "peak", "seconds"))
        side, again = f"{row['side']} x {row['side']}", "yes" if row["checkpoint"] else "no"
        shown.add_row(row["work"], side, str(row["window"] or "none"), again, *numbers)
    return shown


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--train", type=int, default=512)
    words.add_argument("--predict", type=int, default=1024)
    words.add_argument("--window", type=int, default=14)
    words.add_argument("--json", action="store_true")
    words.add_argument("--measure", help=argparse.SUPPRESS)
    said = words.parse_args()
    if said.measure:
        print(json.dumps(measure(**json.loads(said.measure))))
        return
    asked = [("train", said.train, window, again) for window in (None, said.window) for again in (False, True)]
    asked += [("predict", said.predict, window, False) for window in (None, said.window)]
    rows = [in_a_fresh_process(said.model, *one) for one in asked]
    if said.json:
        machine = {"threads": torch.get_num_threads(), "machine": platform.machine(), "torch": str(torch.__version__)}
        print(json.dumps(machine | {"rows": rows}, indent=2))
    else:
        Console().print(table(rows))


if __name__ == "__main__":
    main()
