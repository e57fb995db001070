"""Moving averages of weights."""

import torch
from jaxtyping import Bool
from torch import Tensor, nn


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, momentum: float, taken: Bool[Tensor, ""]) -> None:
    """average <- momentum * average + (1 - momentum) * model, parameter by parameter, if the model's step was taken."""
    weight = (1 - momentum) * taken.float()
    for mine, its in zip(average.parameters(), model.parameters(), strict=True):
        mine.lerp_(its, weight.to(mine.dtype))
