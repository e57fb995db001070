"""The rows of `pcae benchmark` in training: our methods, every one made in one place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from pcae.evaluation.cost import pretraining_cost
from pcae.evaluation.stepper import Stepper
from pcae.methods.choice import build_method
from pcae.model.compiled import checkpoint_blocks, compile_blocks
from pcae.model.encoder import build_encoder
from pcae.settings.methods import WITHOUT_DECODER, MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.optimizer import build_optimizer
from pcae.training.randomness import StepRandom

Batches = Iterator[tuple[Any, StepRandom]]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all rows of a measurement share.

    steps: those of one turn. autocast: None is float32 throughout. compiled: whether the blocks of our rows are.
    compile_mode: torch.compile's. grad_checkpointing: whether our blocks are computed again in the backward pass.
    """

    encoder: EncoderConfig
    decoder: DecoderConfig
    batch_size: int
    steps: int
    rounds: int
    device: torch.device
    autocast: torch.dtype | None
    compiled: bool
    compile_mode: str | None = None
    grad_checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of a measurement of training.

    build: its method, in the sizes of the conditions. Raises ValueError for sizes that cannot be. gmacs: 10^9
    multiply-accumulates of training on an image; None where they are not counted. views: of an image in a step.
    compiles: whether its blocks can be compiled.
    """

    name: str
    build: Callable[[Conditions], nn.Module]
    gmacs: Callable[[Conditions], float | None] = lambda _: None
    views: int = 1
    compiles: bool = False


def ours(name: str, method: MethodConfig, **decoder: int) -> Entry:
    """A method of ours. decoder: what it has other than the rest; SimMIM's kind has none."""

    def decoder_of(conditions: Conditions) -> DecoderConfig:
        return DecoderConfig() if method.method in WITHOUT_DECODER else replace(conditions.decoder, **decoder)

    return Entry(
        name=name,
        build=lambda conditions: build_method(build_encoder(conditions.encoder), method, decoder_of(conditions)),
        gmacs=lambda conditions: pretraining_cost(conditions.encoder, method, decoder_of(conditions))["training_gmacs"],
        views=method.views,
        compiles=True,
    )


ENTRIES = {
    entry.name: entry
    for entry in (
        ours("mae", MethodConfig(method="mae")),
        ours("mae-lite", MethodConfig(method="mae"), decoder_depth=2),
        ours("pcae-75", MethodConfig()),
        ours("pcae-85", MethodConfig(mask_ratio=0.85)),
        ours("pcae-90", MethodConfig(mask_ratio=0.9)),
        ours("pcae-85-2-views", MethodConfig(mask_ratio=0.85, views=2, pool_ratio=0.25)),
        ours("pcae-85-4-views", MethodConfig(mask_ratio=0.85, views=4, pool_ratio=0.25)),
        ours("simmim", MethodConfig(method="simmim")),
        ours("pcae-simmim", MethodConfig(method="pcae-simmim")),
    )
}


def stepper_of(entry: Entry, conditions: Conditions, batches: Batches | None = None) -> Stepper:
    """A row at work on `batches` or on made-up images, every one from the same seed."""
    torch.manual_seed(0)
    encoder, device = conditions.encoder, conditions.device
    method = entry.build(conditions).to(device)
    if conditions.grad_checkpointing and entry.compiles:
        checkpoint_blocks(method)
    if conditions.compiled and entry.compiles:
        compile_blocks(method, conditions.compile_mode)
    images = torch.randn(conditions.batch_size, encoder.channels or 3, *encoder.image_size).to(device)
    return Stepper(method, build_optimizer(method, OptimizerConfig()), images, conditions.autocast, batches)
