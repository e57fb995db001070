"""What learning is, without a training: a loss falls as its gradient says."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


def assert_falls_as_its_gradient_says(module: nn.Module, loss: Callable[[], Tensor], length: float = 1e-6) -> None:
    """A step against the gradient lowers the loss by the step's length times the gradient's norm.

    module: in float64. loss: the same numbers at each call, but for the parameters. length: in the space of all
    parameters, far above rounding and too short for a curve to bend.
    """
    before = loss()
    before.backward()
    moved = [parameter for parameter in module.parameters() if parameter.grad is not None]
    norm = torch.stack([parameter.grad.square().sum() for parameter in moved]).sum().sqrt()
    assert norm > 1e-3
    with torch.no_grad():
        for parameter in moved:
            parameter -= length / norm * parameter.grad
        fall = (before - loss()) / length
    assert fall.item() == pytest.approx(norm.item(), rel=1e-2)
