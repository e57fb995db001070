"""What `pcae benchmark` measures: training, reading images, and inference by drop ratio."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pcae.benchmarking.entries import Batches, Conditions, Entry, stepper_of
from pcae.evaluation.cost import inference_cost
from pcae.evaluation.throughput import device_name, ratios, take_turns, turns
from pcae.model.compiled import compile_blocks
from pcae.model.encoder import create_vit
from pcae.model.reduced import reduce
from pcae.settings.trained import Rule

MATMUL = "matrix product"


def measure_training(
    entries: Sequence[Entry], against: str, conditions: Conditions, batches: Batches | None
) -> dict[str, Any]:
    """All rows in one interleaved run, on `batches`, which they share, or on made-up images."""
    steppers = {entry.name: stepper_of(entry, conditions, batches) for entry in entries}
    memory = {name: {"peak_bytes": one.peak(), "kept_bytes": one.kept()} for name, one in steppers.items()}
    calls: dict[str, Callable[[], object]] = {
        name: partial(stepper.step, conditions.steps) for name, stepper in steppers.items()
    }
    spent = turns(calls | {MATMUL: matrix_product(conditions)}, conditions.device, conditions.rounds)
    peak = peak_of(spent.pop(MATMUL), conditions)
    faster = ratios(spent, against)
    rows = []
    for entry in entries:
        row = described_training(entry, conditions, spent[entry.name], faster[entry.name], peak)
        if batches is not None:
            waits = steppers[entry.name].waits[-conditions.rounds :]
            row["data_wait_share"] = sum(waits) / sum(spent[entry.name])
        rows.append(row | memory[entry.name])
    return {"against": against, "matrix_product_gflops": peak / 1e9, "rows": rows}


def described_training(
    entry: Entry, conditions: Conditions, spent: list[float], faster: float, peak: float
) -> dict[str, Any]:
    """A row of the result; a view counts as an image in `per_view`."""
    gmacs = entry.gmacs(conditions)
    speeds = speeds_of(conditions.batch_size * conditions.steps, spent)
    return {
        "row": entry.name,
        **speeds,
        "times_as_fast": faster,
        "views": entry.views,
        "per_view": faster * entry.views,
        "training_gmacs": gmacs,
        "share_of_matrix_product": None if gmacs is None else 2e9 * gmacs * speeds["images_per_second"] / peak,
    }


def measure_loader(conditions: Conditions, batches: Batches) -> dict[str, Any]:
    """Reading alone: from files to normalised tensors on the device."""

    def read() -> None:
        for _ in range(conditions.steps):
            next(batches)

    spent = turns({"loader": read}, conditions.device, conditions.rounds)
    return {"rows": [{"row": "loader", **speeds_of(conditions.batch_size * conditions.steps, spent["loader"])}]}


def measure_inference(
    drop_ratios: Sequence[float], batch_sizes: Sequence[int], conditions: Conditions
) -> dict[str, Any]:
    """Classifying made-up images with random weights, by batch size and drop ratio; all ratios take turns."""
    gmacs = {ratio: inference_cost(conditions.encoder, ratio)["gmacs"] for ratio in drop_ratios}
    models, dtype = reduced_models(drop_ratios, conditions), conditions.autocast or torch.float32
    channels, size = conditions.encoder.channels or 3, conditions.encoder.image_size
    rows, peak = [], 0.0
    for batch in batch_sizes:
        images = torch.randn(batch, channels, *size).to(conditions.device, dtype)
        product = matrix_product(conditions)
        calls: dict[Any, Callable[[Tensor], Tensor]] = {**models, MATMUL: lambda _, product=product: product()}
        spent = take_turns(calls, images, conditions.rounds)
        peak = max(peak, peak_of(spent.pop(MATMUL), conditions))
        faster = ratios(spent, 0.0)
        for ratio, seconds in spent.items():
            found = {"row": f"{ratio:g}, batch {batch}", "drop_ratio": ratio, "batch_size": batch}
            found |= speeds_of(batch * conditions.steps, seconds)
            found |= {"times_as_fast": faster[ratio], "gmacs": gmacs[ratio], "macs_allow": gmacs[0.0] / gmacs[ratio]}
            rows.append(found)
    for row in rows:
        row["share_of_matrix_product"] = 2e9 * row["gmacs"] * row["images_per_second"] / peak
    return {"against": "drop ratio 0", "matrix_product_gflops": peak / 1e9, "rows": rows}


def reduced_models(drop_ratios: Sequence[float], conditions: Conditions) -> dict[float, Callable[[Tensor], Tensor]]:
    """As many forward passes as a turn has, at each drop ratio; all hold the same model."""
    torch.manual_seed(0)
    vit = create_vit(conditions.encoder, channels=conditions.encoder.channels or 3).eval()
    vit.to(conditions.device, conditions.autocast or torch.float32)
    models = {ratio: reduce(vit, ratio, **vars(Rule())) for ratio in drop_ratios}
    for model in models.values() if conditions.compiled else ():
        compile_blocks(model, conditions.compile_mode)

    def passes(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        for _ in range(conditions.steps - 1):
            model(images)
        return model(images)

    return {ratio: partial(passes, model) for ratio, model in models.items()}


def matrix_product(conditions: Conditions) -> Callable[[], Tensor]:
    """A product of two large matrices in the precision of the run."""
    dtype, side = conditions.autocast or torch.float32, side_on(conditions.device)
    left, right = (torch.randn(side, side, device=conditions.device, dtype=dtype) for _ in range(2))
    return lambda: left @ right


def side_on(device: torch.device) -> int:
    """Rows and columns of the large matrices; on a GPU a small product is over before the host begins to wait."""
    return 2048 if device.type == "cpu" else 8192


def peak_of(spent: list[float], conditions: Conditions) -> float:
    """Operations a second of the fastest product of the large matrices, which arithmetic is held against."""
    return 2 * side_on(conditions.device) ** 3 / min(spent)


def speeds_of(images: int, spent: list[float]) -> dict[str, float]:
    """Images per second of turns that took so many seconds: median, least and most."""
    speeds = [images / seconds for seconds in spent]
    return {"images_per_second": median(speeds), "least": min(speeds), "most": max(speeds)}


def described(conditions: Conditions) -> dict[str, Any]:
    """What was measured on, and how."""
    return {
        "rounds": conditions.rounds,
        "steps": conditions.steps,
        "precision": str(conditions.autocast or torch.float32).removeprefix("torch."),
        "compiled": conditions.compiled,
        "grad_checkpointing": conditions.grad_checkpointing,
        "machine": {
            "name": device_name(conditions.device),
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
        },
        "encoder": asdict(conditions.encoder),
    }
