"""Muon: matrices move by orthogonalised momentum, by timm's iteration; everything else by AdamW."""

from typing import Any, cast

import torch
from timm.optim.muon import get_lr_scale, zeropower_via_newtonschulz
from torch import Tensor, nn

from pcae.training.sharding import split_like, whole

MOMENTUM = 0.95
"""Of the gradient's moving average, as in Jordan's code; Nesterov's form of it."""
COEFFICIENTS = [(3.4445, -4.7750, 2.0315)]
"""Jordan's, of a polynomial that takes singular values near 1 in five rounds (kellerjordan.github.io/posts/muon)."""
ROUNDS = 5
BUFFER = "momentum_buffer"
"""The moving average's name in the optimizer's state, as in torch's and timm's Muon."""


class Muon(torch.optim.AdamW):
    """Muon for parameters of two dimensions, fused AdamW for all others; a skipped step changes nothing in either.

    The orthogonalised step is scaled to the size of AdamW's, 0.2 * sqrt(max(rows, columns)) (Moonlight, arXiv
    2502.16982), so that learning rates and weight decay mean what they do there. timm's own class computes in bf16,
    which turns the rounding of an exchange between processes into other directions of small singular values, and cannot
    skip a step without asking the device; so its iteration is called here, in the weights' own precision.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; where `found_inf` is not 0, weights and moments stay as they are, and no device is waited for."""
        taken = vars(self).get("found_inf", torch.zeros(())) == 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim == 2 and parameter.grad is not None:
                    self.move(parameter, group, taken.to(parameter.device))
                    parameter.grad = None  # it is none of AdamW's
        return super().step(closure)

    def move(self, matrix: nn.Parameter, group: dict[str, Any], taken: Tensor) -> None:
        """Muon's step of a matrix: decay, momentum and the orthogonalised direction."""
        state = self.state[matrix]
        if BUFFER not in state:
            state[BUFFER] = torch.zeros_like(matrix)
        average = state[BUFFER]
        gradient = torch.where(taken, cast(Tensor, matrix.grad), average)  # which leaves the average as it is
        average.lerp_(gradient, 1 - MOMENTUM)
        direction = orthogonal(gradient.lerp(average, MOMENTUM))
        rate = taken.to(matrix.dtype) * group["lr"]
        matrix.mul_(1 - rate * group["weight_decay"])
        matrix.sub_(direction * (rate * get_lr_scale(matrix.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with its singular values taken near 1; of one that is split over processes, each has its share."""
    full = whole(matrix)
    found = zeropower_via_newtonschulz(full, ROUNDS, COEFFICIENTS, dtype=full.dtype)
    return split_like(found, matrix)
