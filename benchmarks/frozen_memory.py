"""Memory at the peak of a step of fine-tuning with parts of the encoder frozen, against all of it trained.

    python benchmarks/frozen_memory.py [--model vit_base_patch16_224] [--batch 8] [--freeze 4 8 encoder]

Forward, backward, AdamW; float32, 1,000 classes. Counted from operator to operator without any data
(`pcae.evaluation.memory`), so that it takes seconds and no memory. Prints JSON, bytes and their share of the first row.
"""

import argparse
import copy
import json
from typing import Literal

import torch
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from pcae.evaluation.memory import peak_bytes
from pcae.model.encoder import create_vit
from pcae.settings.choices import Frozen
from pcae.settings.network import EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.settings.tasks import ClassificationConfig
from pcae.tasks.classification import Classification, drop_schedule, layer_groups
from pcae.training.loop import Progress, loop
from pcae.training.micro_batches import Labelled
from pcae.training.optimizer import build_optimizer
from pcae.training.randomness import randomness

CPU = torch.device("cpu")


def peak(model: str, batch: int, freeze: Frozen | None, ema: float | None = None) -> int:
    """Bytes at the peak of a step, from the second one on."""
    encoder = EncoderConfig(model=model)
    vit = create_vit(encoder, channels=3, num_classes=1000, global_pool="avg")
    config = ClassificationConfig(freeze=freeze, ema=ema, mixup=0.0, cutmix=0.0)
    without_data = FakeTensorMode()
    with FakeCopyMode(without_data):
        method = copy.deepcopy(Classification(vit, config, drop_schedule(config, 100, 10)))
    with without_data:
        given = Labelled(torch.randn(batch, 3, *encoder.image_size), torch.arange(batch))
        optimizer = build_optimizer(method, OptimizerConfig(), layer_groups(method.model.vit, 0.05, 0.65))

        def step() -> None:
            stream = iter([(given, randomness(0, 0, batch, CPU))])
            loop(method, stream, optimizer, lambda _: 1e-6, Progress(1), [])

        step()
        states = [value for state in optimizer.state.values() for value in state.values()]
        return peak_bytes(step, [given.images, *method.parameters(), *method.buffers(), *states], CPU)


def frozen(word: str) -> int | Literal["encoder"]:
    """`encoder`, or a number of blocks."""
    return "encoder" if word == "encoder" else int(word)


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--batch", type=int, default=8)
    words.add_argument("--freeze", nargs="+", type=frozen, default=[4, 8, "encoder"])
    said = words.parse_args()
    peaks = {str(freeze): peak(said.model, said.batch, freeze) for freeze in (None, *said.freeze)}
    rows = [{"freeze": name, "peak_bytes": found, "share": found / peaks["None"]} for name, found in peaks.items()]
    print(
        json.dumps({"model": said.model, "batch": said.batch, "torch": str(torch.__version__), "rows": rows}, indent=2)
    )


if __name__ == "__main__":
    main()
