"""`pcae benchmark`: training speed and memory of our methods and of other people's MAE, side by side in one run."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import torch
from torch import nn

from pcae.commands.report import as_json, console, table
from pcae.evaluation.bars import draw_bars
from pcae.evaluation.comparison import markdown_table
from pcae.evaluation.cost import pretraining_cost
from pcae.evaluation.peers import PEERS
from pcae.evaluation.stepper import Stepper
from pcae.evaluation.throughput import device_name, ratios, turns
from pcae.methods.choice import WITHOUT_DECODER, MethodConfig, build_method
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import EncoderConfig, build_encoder
from pcae.training.checkpoint import check_writable, replace_text
from pcae.training.distributed import pick_device
from pcae.training.optimizer import OptimizerConfig, build_optimizer
from pcae.training.plan import autocast_dtype

RowName = Literal[
    "mae", "mae-lite", "pcae-75", "pcae-85", "pcae-90", "pcae-85-2-views", "pcae-85-4-views", "simmim", "pcae-simmim",
    "transformers", "lightly",
]  # fmt: skip
MATMUL = "matrix product"
SIDE = 2048
"""Of the square matrices whose product is the peak that arithmetic is held against."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A row: one of our methods, or a peer."""

    method: MethodConfig | None = None
    decoder: dict[str, int] = field(default_factory=dict)


CONTESTANTS: dict[RowName, Contestant] = {
    "mae": Contestant(method=MethodConfig(method="mae")),
    "mae-lite": Contestant(method=MethodConfig(method="mae"), decoder={"decoder_depth": 2}),
    "pcae-75": Contestant(method=MethodConfig()),
    "pcae-85": Contestant(method=MethodConfig(mask_ratio=0.85)),
    "pcae-90": Contestant(method=MethodConfig(mask_ratio=0.9)),
    "pcae-85-2-views": Contestant(method=MethodConfig(mask_ratio=0.85, views=2, pool_ratio=0.25)),
    "pcae-85-4-views": Contestant(method=MethodConfig(mask_ratio=0.85, views=4, pool_ratio=0.25)),
    "simmim": Contestant(method=MethodConfig(method="simmim")),
    "pcae-simmim": Contestant(method=MethodConfig(method="pcae-simmim")),
    "transformers": Contestant(),
    "lightly": Contestant(),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure training steps on made-up images: all rows take turns, so that a noisy machine disturbs all alike.

    Images per second (median, least and most over the rounds), times as fast as one of the rows, memory at the peak of
    a step, bytes kept for the backward pass, and the share that arithmetic has of what a large matrix product reaches.
    """

    rows: tuple[RowName, ...] = get_args(RowName)
    """What is measured: ours by mask ratio and views, and MAE as transformers and lightly have it (at 75 %)."""
    against: RowName = "mae"
    """The row that others are held against."""
    batch_size: int = 32
    """Images of a step."""
    rounds: int = 5
    """Steps of each row that are timed, after one that is not."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of matrix products; auto is bf16 on GPUs that have it, else fp32."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    out: Path | None = None
    """A .json file; the same as Markdown, and a picture, are written beside it."""
    json: bool = False
    """Print as JSON."""
    encoder: EncoderConfig = EncoderConfig()
    decoder: DecoderConfig = DecoderConfig()


def run(config: Config) -> None:
    """Measure, print and write."""
    check(config)
    device = pick_device(config.device)
    console.print("measuring, all rows taking turns: nothing else should run now")
    found = measure(config, device)
    if config.out is not None:
        write(config.out, found)
    if config.json:
        as_json(found)
    else:
        table(found["title"], *cells(found))


def check(config: Config) -> None:
    """Raise ValueError for what cannot be, before any work."""
    for name in ("batch_size", "rounds"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")
    if config.against not in config.rows:
        raise ValueError(f"against {config.against} is not among the rows {', '.join(config.rows) or '(none)'}")
    if len(set(config.rows)) != len(config.rows):
        raise ValueError("rows has a name twice; give each once")
    if config.encoder.patch_scale != 1:
        raise ValueError(f"patch_scale {config.encoder.patch_scale:g} does not change the speed; leave it out")
    if config.out is not None:
        check_writable(config.out, ".json")


def measure(config: Config, device: torch.device) -> dict[str, Any]:
    """All rows in one interleaved run."""
    steppers = {name: stepper_of(name, config, device) for name in config.rows}
    memory = {name: (stepper.peak(), stepper.kept()) for name, stepper in steppers.items()}
    calls: dict[str, Callable[[], object]] = {name: stepper.step for name, stepper in steppers.items()}
    spent = turns({**calls, MATMUL: matrix_product(config, device)}, device, config.rounds)
    peak = 2 * SIDE**3 / min(spent.pop(MATMUL))
    faster = ratios(spent, config.against)
    rows = [described(name, config, spent[name], faster[name], memory[name], peak) for name in config.rows]
    size = " x ".join(map(str, config.encoder.image_size))
    return {
        "title": f"Training {config.encoder.model} at {size}, batch {config.batch_size}, {device.type}",
        "against": config.against,
        "rounds": config.rounds,
        "precision": str(autocast_dtype(config.precision, device) or torch.float32).removeprefix("torch."),
        "matrix_product_gflops": peak / 1e9,
        "machine": machine(device),
        "encoder": asdict(config.encoder),
        "rows": rows,
    }


def stepper_of(name: RowName, config: Config, device: torch.device) -> Stepper:
    """A row at work, every one from the same seed."""
    torch.manual_seed(0)
    method = build(name, config).to(device)
    images = torch.randn(config.batch_size, config.encoder.channels or 3, *config.encoder.image_size).to(device)
    optimizer = build_optimizer(method, OptimizerConfig())
    return Stepper(method, optimizer, images, autocast_dtype(config.precision, device))


def build(name: RowName, config: Config) -> nn.Module:
    """The method of a row. Raises ValueError for sizes that cannot be, or a peer that is not installed."""
    if name in PEERS:
        return PEERS[name](config.encoder, config.decoder)
    own = CONTESTANTS[name]
    assert own.method is not None
    return build_method(build_encoder(config.encoder), own.method, decoder_of(own, config))


def decoder_of(own: Contestant, config: Config) -> DecoderConfig:
    """The decoder of a row; SimMIM's kind has none."""
    headed = own.method is not None and own.method.method in WITHOUT_DECODER
    return DecoderConfig() if headed else replace(config.decoder, **own.decoder)


def matrix_product(config: Config, device: torch.device) -> Callable[[], object]:
    """A product of two large matrices in the precision of the run."""
    dtype = autocast_dtype(config.precision, device) or torch.float32
    left, right = (torch.randn(SIDE, SIDE, device=device, dtype=dtype) for _ in range(2))
    return lambda: left @ right


def described(
    name: RowName, config: Config, spent: list[float], faster: float, memory: tuple[float, float], peak: float
) -> dict[str, Any]:
    """A row of the result; a view counts as an image in `per_view`."""
    speeds, own = [config.batch_size / seconds for seconds in spent], CONTESTANTS[name]
    views = own.method.views if own.method else 1
    gmacs = None
    if own.method is not None:
        gmacs = pretraining_cost(config.encoder, own.method, decoder_of(own, config))["training_gmacs"]
    return {
        "row": name,
        "images_per_second": median(speeds),
        "least": min(speeds),
        "most": max(speeds),
        "times_as_fast": faster,
        "views": views,
        "per_view": faster * views,
        "training_gmacs": gmacs,
        "share_of_matrix_product": None if gmacs is None else 2e9 * gmacs * median(speeds) / peak,
        "peak_bytes": memory[0],
        "kept_bytes": memory[1],
    }


def machine(device: torch.device) -> dict[str, Any]:
    """What measured."""
    return {"name": device_name(device), "threads": torch.get_num_threads(), "torch": str(torch.__version__)}


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The result as a table."""
    header = [
        "row", "images/s", "least", "most", f"times {found['against']}", "per view", "GMACs", "of matrix product",
        "peak MiB", "kept MiB",
    ]  # fmt: skip
    lines = []
    for row in found["rows"]:
        gmacs, share = row["training_gmacs"], row["share_of_matrix_product"]
        lines.append(
            [
                row["row"],
                *(f"{row[name]:.2f}" for name in ("images_per_second", "least", "most", "times_as_fast", "per_view")),
                "–" if gmacs is None else f"{gmacs:.2f}",
                "–" if share is None else f"{share:.0%}",
                *(f"{row[name] / 2**20:.0f}" for name in ("peak_bytes", "kept_bytes")),
            ]
        )
    return header, lines


def write(out: Path, found: dict[str, Any]) -> None:
    """JSON, Markdown and a picture."""
    replace_text(out, json.dumps(found, indent=2) + "\n")
    replace_text(out.with_suffix(".md"), f"## {found['title']}\n\n{markdown_table(*cells(found))}\n")
    bars = {row["row"]: row["per_view"] for row in found["rows"]}
    draw_bars(out.with_suffix(".png"), found["title"], bars, f"times as fast as {found['against']}, per view")
