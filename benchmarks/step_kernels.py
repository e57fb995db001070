"""How many kernels a training step starts: the operators that the dispatcher sees, on whatever device it runs.

    python benchmarks/step_kernels.py [--device cpu] [--model vit_base_patch16_224] [--rows mae pcae-85] [--batch 1]

Forward, backward, optimizer and moving average of a step whose blocks are not compiled, under bf16 autocast, as on a
GPU. Views, what only allocates and what only looks count nothing. An operator counts once, though a few start several
kernels (attention's backward pass, a fused optimizer over all parameters). Prints JSON: `operators` by row, the most
frequent ones by name, and `host_waits`, the operators whose result the host would have to wait for.
"""

import argparse
import json
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pcae.benchmarking.entries import ENTRIES, Conditions, stepper_of
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.training.distributed import pick_device

ALLOCATE = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}
VIEWS = {"_unsafe_view", "_reshape_alias", "lift_fresh"}
"""Those that torch's own `is_view` does not know."""
WAIT = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}
"""Operators whose result the host needs before it goes on."""


class Kernels(TorchDispatchMode):
    """Counts the operators that start a kernel, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.started: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not (func.is_view or name in ALLOCATE | VIEWS):
            self.started[name] += 1
        return func(*args, **(kwargs or {}))


def count_kernels(rows: list[str], conditions: Conditions) -> dict[str, Any]:
    """What a step of each row starts."""
    found = []
    for name in rows:
        stepper = stepper_of(ENTRIES[name], conditions)
        with Kernels() as kernels:
            stepper.step()
        started = kernels.started
        found.append(
            {
                "row": name,
                "operators": started.total(),
                "host_waits": sum(started[name] for name in WAIT),
                "most": dict(started.most_common(12)),
            }
        )
    return {"rows": found}


def main() -> None:
    """Count and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--device", default="cpu")
    words.add_argument("--model", default="vit_base_patch16_224")
    words.add_argument("--rows", nargs="+", default=["mae", "pcae-85"], choices=ENTRIES)
    words.add_argument("--batch", type=int, default=1)
    said = words.parse_args()
    conditions = Conditions(
        encoder=EncoderConfig(model=said.model),
        decoder=DecoderConfig(),
        batch_size=said.batch,
        steps=1,
        rounds=1,
        device=pick_device(said.device),
        autocast=torch.bfloat16,
        compiled=False,
    )
    print(
        json.dumps(
            {"model": said.model, "torch": str(torch.__version__)} | count_kernels(said.rows, conditions), indent=2
        )
    )


if __name__ == "__main__":
    main()
