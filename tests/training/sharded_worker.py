"""What test_fully_shard starts under torchrun: runs with weights in each process, and with weights split over them.

In float64, so that only the mathematics can differ. usage: sharded_worker.py FOLDER, with images in FOLDER/data.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from pcae.evaluation.stepper import Stepper
from pcae.methods import mae
from pcae.runs import finetuning as tuning
from pcae.runs import pretraining as training
from pcae.runs.finetuning_task import build_task
from pcae.runs.run import TrainingRun
from pcae.settings.values import build
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.training.distributed import World, open_world
from pcae.training.loop import Progress, loop
from pcae.training.micro_batches import Labelled
from pcae.training.randomness import randomness

SHARED = {
    "model": "vit_tiny_patch16_224", "image_size": (28, 28), "patch_size": 7, "width": 24, "depth": 3, "heads": 2,
    "channels": 1, "mean": (0.5,), "std": (0.3,), "workers": 0, "steps": 10, "batch_size": 8, "base_lr": 0.03,
    "device": "cpu", "checkpoint_every": 3, "keep_checkpoints": 9, "log_every": 1,
}  # fmt: skip
PRETRAIN = SHARED | {
    "decoder_width": 16, "decoder_depth": 2, "decoder_heads": 2, "health_every": 5, "knn_every": 1.0, "clip_grad": 0.5,
}  # fmt: skip
FINETUNE = SHARED | {
    "from_scratch": True, "drop_ratio": 0.3, "ema": 0.9, "layer_decay": 0.7, "auto_augment": "none",
    "evaluate_every": 1.0, "class_weights": "balanced", "sampler": "balanced",
}  # fmt: skip

FROZEN = {"freeze": 2, "ema": None, "optimizer": "muon"}


def pretraining(folder: Path, name: str, **knobs: Any) -> PretrainConfig:
    """A run that looks at its health, and at neighbours, before the first step, after the fifth and after the last."""
    data = folder / "data"
    return build(
        PretrainConfig, PRETRAIN | {"data": str(data / "train"), "out": folder / name, "knn_data": str(data)} | knobs
    )


def finetuning(folder: Path, name: str, **knobs: Any) -> FinetuneConfig:
    return build(FinetuneConfig, FINETUNE | {"data": str(folder / "data"), "out": folder / name} | knobs)


@contextmanager
def nan_in_the_second_process(world: World) -> Iterator[None]:
    """Its loss is not a number in the fourth step."""
    calls, loss_of = [], mae.squared_difference

    def spoiled(*tensors: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return loss_of(*tensors) * (torch.nan if world.rank == 1 and len(calls) == 4 else 1)

    with mock.patch.object(mae, "squared_difference", spoiled):
        yield


def inside(run: TrainingRun) -> dict[str, Any]:
    """Whether weights, gradients and the optimizer's state are split, block by block, after a step."""
    parameters, states = list(run.method.parameters()), list(run.optimizer.state.values())
    return {
        "parameters": all(isinstance(parameter, DTensor) for parameter in parameters),
        "moments": all(isinstance(state[key], DTensor) for state in states for key in state if key != "step"),
        "states": len(states),
        "trained": sum(parameter.requires_grad for parameter in parameters),
        "here": sum(one.to_local().numel() for one in parameters if isinstance(one, DTensor)),
        "all": sum(parameter.numel() for parameter in parameters),
        "units": [name for name, part in run.method.named_modules() if isinstance(part, FSDPModule)],
    }


def equal(one: nn.Module, two: nn.Module) -> bool:
    theirs = two.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def looked_at(folder: Path, world: World) -> dict[str, Any]:
    """How weights lie in the processes, and whether they begin as they would in one."""
    found: dict[str, Any] = {}
    for name in ("pcae", "mae", "simmim", "pcae-simmim"):
        own: dict[str, Any] = {"decoder_depth": None, "decoder_width": 512, "decoder_heads": 16}
        knobs = {"method": name} | (own if name.endswith("simmim") else {})
        alone = training.build_task(pretraining(folder, "none", **knobs), world)
        run = training.build_task(pretraining(folder, "none", fully_shard=True, **knobs), world).run
        begun = equal(alone.run.method, run.whole())
        Stepper(run.method, run.optimizer, torch.randn(4, 1, 28, 28), None)
        found[name] = inside(run) | {"begun": begun}
    task = build_task(finetuning(folder, "none", fully_shard=True), world)
    begun = equal(build_task(finetuning(folder, "none"), world).run.method, task.run.whole())
    crops = torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 1, 0])
    random = randomness(0, 0, 4, world.device)
    loop(task.run.method, iter([(Labelled(*crops), random)]), task.run.optimizer, lambda _: 1e-3, Progress(1), [])
    found["finetune"] = inside(task.run) | {"begun": begun}
    run = training.build_task(pretraining(folder, "none", fully_shard=True, optimizer="muon"), world).run
    begun = equal(training.build_task(pretraining(folder, "none"), world).run.method, run.whole())
    Stepper(run.method, run.optimizer, torch.randn(4, 1, 28, 28), None)
    found["muon"] = inside(run) | {"begun": begun}
    return found


def in_bf16(folder: Path, world: World, name: str, **knobs: Any) -> None:
    """A short run in float32, whose matrix products autocast turns into bf16."""
    torch.set_default_dtype(torch.float32)
    training.train(pretraining(folder, f"bf16-{name}", steps=3, precision="bf16", knn_data=None, **knobs), world)
    torch.set_default_dtype(torch.float64)


def run_all(folder: Path, world: World) -> None:
    split = {"fully_shard": True}
    for name, knobs in (("whole", {}), ("split", split)):
        training.train(pretraining(folder, f"pcae-{name}", **knobs), world)
        tuning.train(finetuning(folder, f"finetune-{name}", **knobs), world)
        training.train(pretraining(folder, f"muon-{name}", optimizer="muon", knn_data=None, **knobs), world)
        tuning.train(finetuning(folder, f"frozen-{name}", **FROZEN, **knobs), world)
        in_bf16(folder, world, name, **knobs)
        with nan_in_the_second_process(world):
            training.train(pretraining(folder, f"nan-{name}", method="mae", **knobs), world)
    training.train(pretraining(folder, "mae-whole", method="mae"), world)
    again = {"accumulation": 2, "grad_checkpointing": True}
    training.train(pretraining(folder, "mae-split", method="mae", **split, **again), world)
    resume(folder, world)
    forecast = training.train(pretraining(folder, "dry", dry_run=True, **split), world)
    facts = looked_at(folder, world) | {"forecast": forecast}
    (folder / f"facts-{world.rank}.json").write_text(json.dumps(facts))


def resume(folder: Path, world: World) -> None:
    """Split over two processes up to step 3, in one process up to step 6, then split again."""
    saved = "{}/checkpoints/step-{:08d}.safetensors"
    first = saved.format(folder / "pcae-split", 3)
    alone = World(0, 1, world.device)
    world.main_first(lambda: None if world.rank else training.train(pretraining(folder, "one", resume=first), alone))
    then = saved.format(folder / "one", 6)
    training.train(pretraining(folder, "again", resume=then, fully_shard=True), world)


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    with open_world("cpu") as world:
        run_all(Path(sys.argv[1]), world)
