"""Multiply-accumulates and tokens by block, read off the running model on the meta device: no memory, no time."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pcae.methods.pcae import PCAE, PCAEConfig
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import EncoderConfig, build_encoder, create_vit
from pcae.model.reduced import reduce

META = torch.device("meta")


@dataclass(frozen=True)
class Cost:
    """One pass over one image: 10^9 multiply-accumulates of matrix products, parameters, tokens into each block."""

    gmacs: float
    parameters: int
    tokens: list[int]


def measure(module: nn.Module, blocks: Iterable[nn.Module], *inputs: Any, **options: Any) -> tuple[Cost, Any]:
    """Run `module` once, counting; and what it returned."""
    tokens: list[int] = []

    def note(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        tokens.append(inputs[0].shape[1])

    hooks = [block.register_forward_pre_hook(note) for block in blocks]
    with FlopCounterMode(display=False) as counter:
        result = module(*inputs, **options)
    for hook in hooks:
        hook.remove()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Cost(counter.get_total_flops() / 2e9, parameters, tokens), result


def inference_cost(config: EncoderConfig, drop_ratio: float) -> dict[str, Any]:
    """Classifying one image with token reduction (Table 5), with the model's own classifier."""
    with META, torch.no_grad():
        model = reduce(create_vit(config, channels=config.channels or 3), drop_ratio)
        images = torch.empty(1, config.channels or 3, *config.image_size)
        cost, _ = measure(model, model.vit.blocks, images)
    return {"model": config.model, "drop_ratio": drop_ratio, **asdict(cost)}


def pretraining_cost(config: EncoderConfig, method: PCAEConfig, decoder: DecoderConfig) -> dict[str, Any]:
    """One training image of PCAE: each part's forward pass; training costs 3 x student and decoder, 1 x teacher."""
    with META, torch.no_grad():
        pcae = PCAE(build_encoder(config), method, decoder)
        grid = pcae.student.grid
        visible_ids = torch.zeros(1, pcae.n_visible, dtype=torch.int64)
        hidden_ids = torch.zeros(1, pcae.counts[0], dtype=torch.int64)
        values = pcae.student.vit.patch_embed.proj.weight[0].numel()
        teacher, (_, kept) = measure(
            pcae.teacher,
            pcae.teacher.encoder.vit.blocks,
            torch.empty(1, hidden_ids.shape[1], values),
            hidden_ids,
            grid,
            pcae.reduction,
            target_layers=method.target_layers,
        )
        student, seen = measure(
            pcae.student,
            pcae.student.vit.blocks,
            torch.empty(1, pcae.n_visible, values),
            visible_ids,
            grid,
        )
        made, _ = measure(pcae.decoder, pcae.decoder.blocks, seen.prefix, seen.tokens, visible_ids, kept.ids, grid)
    return {
        "model": config.model,
        "mask_ratio": method.mask_ratio,
        "visible": pcae.n_visible,
        "hidden": hidden_ids.shape[1],
        "kept": [stage.kept_ids.shape[1] for stage in kept.stages],
        "student": asdict(student),
        "teacher": asdict(teacher),
        "decoder": asdict(made),
        "training_gmacs": 3 * (student.gmacs + made.gmacs) + teacher.gmacs,
    }
