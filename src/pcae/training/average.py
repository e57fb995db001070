"""Moving averages of weights."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pcae.training.sharding import local


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, momentum: float, taken: Bool[Tensor, ""]) -> None:
    """average <- momentum * average + (1 - momentum) * model, parameter by parameter, if the model's step was taken.

    Where both are split over processes, they are so alike, and each process moves its share. Weights that both share,
    being frozen, stay as they are.
    """
    weight = (1 - momentum) * taken.float()
    pairs = [both for both in zip(average.parameters(), model.parameters(), strict=True) if both[0] is not both[1]]
    mine: list[Tensor] = [local(parameter) for parameter, _ in pairs]
    its: list[Tensor] = [local(parameter) for _, parameter in pairs]
    (move_each if weight.device.type == "cpu" else move_together)(mine, its, weight)


def move_each(mine: list[Tensor], its: list[Tensor], weight: Float[Tensor, ""]) -> None:
    """One parameter after the other, in one pass over its memory: the fastest on a CPU."""
    torch._foreach_lerp_(mine, its, [weight.to(one.dtype) for one in mine])  # pyright: ignore[reportPrivateImportUsage]


def move_together(mine: list[Tensor], its: list[Tensor], weight: Float[Tensor, ""]) -> None:
    """All parameters in three large kernels: on a GPU, small ones would take longer to start than to run."""
    moves = torch._foreach_sub(its, mine)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_mul_(moves, weight)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_add_(mine, moves)  # pyright: ignore[reportPrivateImportUsage]
