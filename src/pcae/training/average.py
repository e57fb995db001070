"""Moving averages of weights."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch import _foreach_add_ as add_  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_lerp_ as lerp_  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_mul_ as mul_  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_sub as sub  # pyright: ignore[reportPrivateImportUsage]

from pcae.training.sharding import local


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, momentum: float, taken: Bool[Tensor, ""]) -> None:
    """average <- momentum * average + (1 - momentum) * model, parameter by parameter, if the model's step was taken.

    Where both are split over processes, they are so alike, and each process moves its share.
    """
    weight = (1 - momentum) * taken.float()
    mine: list[Tensor] = [local(parameter) for parameter in average.parameters()]
    its: list[Tensor] = [local(parameter) for parameter in model.parameters()]
    (move_each if weight.device.type == "cpu" else move_together)(mine, its, weight)


def move_each(mine: list[Tensor], its: list[Tensor], weight: Float[Tensor, ""]) -> None:
    """One parameter after the other, in one pass over its memory: the fastest on a CPU."""
    lerp_(mine, its, [weight.to(one.dtype) for one in mine])


def move_together(mine: list[Tensor], its: list[Tensor], weight: Float[Tensor, ""]) -> None:
    """All parameters in three large kernels: on a GPU, small ones would take longer to start than to run."""
    moves = sub(its, mine)
    mul_(moves, weight)
    add_(mine, moves)
