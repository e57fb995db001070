"""The optimizer with the right weight-decay groups, and a step that does nothing when a gradient is not finite."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from pcae.settings.run import OptimizerConfig
from pcae.training.muon import Muon
from pcae.training.sharding import whole


def check_optimizer_config(config: OptimizerConfig) -> None:
    """Raise ValueError for values that lie in their bounds and cannot be all the same."""
    drops = config.lr_drops or ()
    if sorted(set(drops)) != list(drops):
        raise ValueError(f"lr_drops must be shares of the run, ascending in (0, 1), got {drops}")


FREE = ("_token", "rope.freqs", "relative_position_bias_table")
"""Ends of the names of what is not decayed though it has several dimensions: tokens, and positions between tokens."""


def parameter_groups(module: nn.Module, weight_decay: float, but: str | None = None) -> list[dict]:
    """Trainable parameters in two groups: matrices with `weight_decay`; biases, norms, tokens with none."""
    decayed, free = [], []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and not (but and name.startswith(but)):
            (free if parameter.ndim <= 1 or name.endswith(FREE) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def build_optimizer(module: nn.Module, config: OptimizerConfig, groups: list[dict] | None = None) -> torch.optim.AdamW:
    """AdamW, or Muon with it, over `groups`, by default the module's `parameter_groups`; fused: it can skip a step on
    the device."""
    groups = groups or parameter_groups(module, config.weight_decay)
    kind = {"adamw": torch.optim.AdamW, "muon": Muon}[config.optimizer]
    return kind(groups, lr=config.base_lr, betas=config.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the learning rate, times its `lr_scale` where it has one (layer decay)."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def take_step(
    optimizer: torch.optim.AdamW, clip_grad: float | None = None
) -> tuple[Float[Tensor, ""], Bool[Tensor, ""]]:
    """One optimizer step, skipped on the device if the gradient is not finite; gradients are cleared.

    Returns the norm of the gradient before clipping, and whether the step was taken; both stay on the device.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = whole(get_total_norm([p.grad for p in parameters]))  # of all shares: all processes decide alike
    if clip_grad is not None:
        clip_grads_with_norm_(parameters, clip_grad, norm)
    taken = norm.isfinite()
    optimizer.found_inf = (~taken).float()  # pyright: ignore[reportAttributeAccessIssue]  # as torch's GradScaler does
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm, taken
