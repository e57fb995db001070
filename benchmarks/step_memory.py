"""Memory at the peak of a training step, ours against MAE, with blocks remembered or computed again.

    python benchmarks/step_memory.py [--device cpu] [--model vit_large_patch16_224] [--batches 512 1024] [--bf16]
        [--rows mae pcae-85]

Forward, backward, optimizer and moving average. On a GPU its allocator says what a step takes. On a CPU tensors are
followed from operator to operator (`pcae.evaluation.memory`) without any data in them: a step of any size takes seconds
and no memory. What is counted is within 2 % of what a step with data takes, which a test holds.
Prints JSON: `peak_bytes` by batch; `per_image_bytes`, by which it grows from the smallest batch to the largest. Batches
must be large: in a small one the peak is at the end, where gradients of all weights are there and no image matters.
"""

import argparse
import copy
import json
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from pcae.benchmarking.entries import ENTRIES, Conditions
from pcae.evaluation.stepper import Stepper
from pcae.evaluation.throughput import device_name
from pcae.model.compiled import checkpoint_blocks
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.distributed import pick_device
from pcae.training.optimizer import build_optimizer


def peak(method: nn.Module, batch: int, at: Conditions) -> int:
    """Bytes at the peak of a step of a copy of the method; on a CPU of one without data."""
    without_data, on_cpu = FakeTensorMode(), at.device.type == "cpu"
    with FakeCopyMode(without_data) if on_cpu else nullcontext():
        method = copy.deepcopy(method)
    if not on_cpu:
        method.to(at.device)
    with without_data if on_cpu else nullcontext():
        images = torch.randn(batch, at.encoder.channels or 3, *at.encoder.image_size, device=at.device)
        return int(Stepper(method, build_optimizer(method, OptimizerConfig()), images, at.autocast).peak())


def measure(rows: list[str], batches: list[int], at: Conditions) -> dict[str, Any]:
    """Each row, with blocks remembered and computed again."""
    found, few, many = [], min(batches), max(batches)
    for name in rows:
        method = ENTRIES[name].build(at)
        for again in (False, True):
            if again:
                checkpoint_blocks(method)
            peaks = {batch: peak(method, batch, at) for batch in batches}
            row = {"row": name, "grad_checkpointing": again, "peak_bytes": peaks}
            found.append(row | {"per_image_bytes": round((peaks[many] - peaks[few]) / (many - few))})
    return {"rows": found}


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--device", default="cpu")
    words.add_argument("--model", default="vit_large_patch16_224")
    words.add_argument("--rows", nargs="+", default=["mae", "pcae-85"], choices=ENTRIES)
    words.add_argument("--batches", nargs="+", type=int, default=[512, 1024])
    words.add_argument("--bf16", action="store_true")
    said = words.parse_args()
    at = Conditions(
        encoder=EncoderConfig(model=said.model),
        decoder=DecoderConfig(),
        batch_size=1,
        steps=1,
        rounds=1,
        device=pick_device(said.device),
        autocast=torch.bfloat16 if said.bf16 else None,
        compiled=False,
    )
    facts = {"device": device_name(at.device), "model": said.model, "precision": "bf16" if said.bf16 else "fp32"}
    found = measure(said.rows, said.batches, at)
    print(json.dumps({**facts, "torch": str(torch.__version__), **found}, indent=2))


if __name__ == "__main__":
    main()
