"""Multiply-accumulates and tokens by block, read off the running model on the meta device: no memory, no time."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pcae.methods.choice import Pretraining, build_method
from pcae.model.blocks import entering
from pcae.model.compiled import blocks_of
from pcae.model.encoder import build_encoder, create_vit
from pcae.model.reduced import reduce
from pcae.settings.methods import MethodConfig
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.trained import Rule
from pcae.settings.verbs.cost import CostConfig
from pcae.training.randomness import StepRandom

META = torch.device("meta")


@dataclass(frozen=True)
class Cost:
    """One pass over one image: 10^9 multiply-accumulates of matrix products, parameters, tokens into each block."""

    gmacs: float
    parameters: int
    tokens: list[int]


def image_cost(config: CostConfig) -> dict[str, Any]:
    """What one image costs in classifying or in pre-training. Raises ValueError for settings that are the other's."""
    encoder = replace(config.encoder, channels=config.encoder.channels or 3)
    if config.pretrain and config.drop_ratio:
        raise ValueError(f"drop_ratio {config.drop_ratio:g} is for classifying; with --pretrain use --keep-ratio")
    if config.pretrain:
        return pretraining_cost(encoder, config.method, config.decoder)
    if (config.method, config.decoder) != (MethodConfig(), DecoderConfig()):
        raise ValueError("settings of the method and the decoder need --pretrain; a classifier's cost has --drop-ratio")
    return inference_cost(encoder, config.drop_ratio)


def measure(module: nn.Module, blocks: Iterable[nn.Module], *inputs: Any) -> Cost:
    """Run `module` once, counting."""
    with entering(blocks) as entered, FlopCounterMode(display=False) as counter:
        module(*inputs)
    return cost_of(module, counter.get_total_flops(), entered)


def cost_of(module: nn.Module, flops: int, entered: Iterable[Tensor]) -> Cost:
    """The cost of a pass, by its operations and the sequences that entered its blocks."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Cost(flops / 2e9, parameters, [sequence.shape[1] for sequence in entered])


def inference_cost(config: EncoderConfig, drop_ratio: float, classes: int | None = None) -> dict[str, Any]:
    """Classifying one image with token reduction (Table 5), with the model's own classifier or one of `classes`."""
    head = {} if classes is None else {"num_classes": classes}
    with META, torch.no_grad():
        model = reduce(create_vit(config, channels=config.channels or 3, **head), drop_ratio, **vars(Rule()))
        images = torch.empty(1, config.channels or 3, *config.image_size)
        cost = measure(model, model.vit.blocks, images)
    return {"model": config.model, "drop_ratio": drop_ratio, **asdict(cost)}


class AnyRandom(StepRandom):
    """Numbers without values, for one image."""

    def uniform(self, purpose: str, *shape: int) -> Float[Tensor, "rows ..."]:
        """Nothing but a shape."""
        return torch.empty(1, *shape, device=META)


def pretraining_cost(
    config: EncoderConfig, method: MethodConfig, decoder: DecoderConfig, teacher: EncoderConfig | None = None
) -> dict[str, Any]:
    """One training image, all its views: each part's forward pass; training costs 3 x student and decoder, 1 x teacher.

    teacher: a fixed one. The decoder of a method that has a linear head is that head.
    """
    with META:
        built = build_method(build_encoder(config), method, decoder, build_encoder(teacher) if teacher else None)
        parts = count_parts(built, torch.empty(1, config.channels or 3, *config.image_size))
    return {
        "model": config.model,
        "method": method.method,
        "views": method.views,
        "visible": built.n_visible,
        "hidden": built.counts[0],
        "kept": built.counts[1:],
        **{name: asdict(part) for name, part in parts.items()},
        "training_gmacs": sum(part.gmacs * (1 if name == "teacher" else 3) for name, part in parts.items()),
    }


def count_parts(method: Pretraining, images: Tensor) -> dict[str, Cost]:
    """What student, teacher and decoder cost in one forward pass; what stands in no other part is the student's."""
    parts = dict(method.named_children())
    with ExitStack() as stack, FlopCounterMode(display=False) as counter:
        entered = {name: stack.enter_context(entering(blocks_of(part))) for name, part in parts.items()}
        method(images, AnyRandom(0, 0, 1, META, slice(0, 1)))
    counts = counter.get_flop_counts()
    flops = {name: sum(counts.get(f"{type(method).__name__}.{name}", {}).values()) for name in parts}
    flops["student"] += counter.get_total_flops() - sum(flops.values())
    return {
        "decoder" if name == "head" else name: cost_of(part, flops[name], entered[name]) for name, part in parts.items()
    }
