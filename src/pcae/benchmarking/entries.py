"""The rows of `pcae benchmark` in training: our methods and other people's, every one made in one place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pcae.evaluation.cost import pretraining_cost
from pcae.evaluation.peers import PEERS
from pcae.evaluation.repositories import REPOSITORIES
from pcae.evaluation.stepper import Stepper
from pcae.methods.choice import build_method
from pcae.model.compiled import compile_blocks
from pcae.model.encoder import build_encoder
from pcae.settings.choices import AnyRow
from pcae.settings.methods import WITHOUT_DECODER, MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.optimizer import build_optimizer
from pcae.training.randomness import StepRandom


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row: one of our methods, or a peer."""

    method: MethodConfig | None = None
    decoder: dict[str, int] = field(default_factory=dict)

    @property
    def views(self) -> int:
        """Views of an image in a step."""
        return self.method.views if self.method else 1


ENTRIES: dict[AnyRow, Entry] = {
    "mae": Entry(method=MethodConfig(method="mae")),
    "mae-lite": Entry(method=MethodConfig(method="mae"), decoder={"decoder_depth": 2}),
    "pcae-75": Entry(method=MethodConfig()),
    "pcae-85": Entry(method=MethodConfig(mask_ratio=0.85)),
    "pcae-90": Entry(method=MethodConfig(mask_ratio=0.9)),
    "pcae-85-2-views": Entry(method=MethodConfig(mask_ratio=0.85, views=2, pool_ratio=0.25)),
    "pcae-85-4-views": Entry(method=MethodConfig(mask_ratio=0.85, views=4, pool_ratio=0.25)),
    "simmim": Entry(method=MethodConfig(method="simmim")),
    "pcae-simmim": Entry(method=MethodConfig(method="pcae-simmim")),
    "transformers": Entry(),
    "lightly": Entry(),
    "mae-repo": Entry(),
    "pcae-repo": Entry(),
}


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all rows of a measurement share.

    steps: those of one turn. autocast: None is float32 throughout. compiled: whether the blocks of our rows are.
    """

    encoder: EncoderConfig
    decoder: DecoderConfig
    batch_size: int
    steps: int
    rounds: int
    device: torch.device
    autocast: torch.dtype | None
    compiled: bool
    repositories: Mapping[AnyRow, Path]


def stepper_of(
    name: AnyRow, conditions: Conditions, batches: Iterator[tuple[Any, StepRandom]] | None = None
) -> Stepper:
    """A row at work on `batches` or on made-up images, every one from the same seed."""
    torch.manual_seed(0)
    encoder, device = conditions.encoder, conditions.device
    method = build(name, conditions).to(device)
    if conditions.compiled and ENTRIES[name].method is not None:
        compile_blocks(method)
    images = torch.randn(conditions.batch_size, encoder.channels or 3, *encoder.image_size).to(device)
    return Stepper(method, build_optimizer(method, OptimizerConfig()), images, conditions.autocast, batches)


def build(name: AnyRow, conditions: Conditions) -> nn.Module:
    """The method of a row. Raises ValueError for sizes that cannot be, or a peer that is not there."""
    if name in PEERS:
        return PEERS[name](conditions.encoder, conditions.decoder)
    if name in REPOSITORIES:
        return REPOSITORIES[name](conditions.repositories[name], conditions.encoder, conditions.decoder)
    own = ENTRIES[name]
    assert own.method is not None
    return build_method(build_encoder(conditions.encoder), own.method, decoder_of(own, conditions))


def decoder_of(own: Entry, conditions: Conditions) -> DecoderConfig:
    """The decoder of a row; SimMIM's kind has none."""
    headed = own.method is not None and own.method.method in WITHOUT_DECODER
    return DecoderConfig() if headed else replace(conditions.decoder, **own.decoder)


def gmacs_of(name: AnyRow, conditions: Conditions) -> float | None:
    """Multiply-accumulates of training on an image, in 10^9; those of peers are not counted."""
    own = ENTRIES[name]
    if own.method is None:
        return None
    return pretraining_cost(conditions.encoder, own.method, decoder_of(own, conditions))["training_gmacs"]
