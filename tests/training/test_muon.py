"""Muon is its formula, by singular values; what it leaves to AdamW is torch's; a skipped step changes nothing."""

import pytest
import torch
from torch import nn

from pcae.settings.run import OptimizerConfig
from pcae.training.checkpoint import Checkpoints, restore
from pcae.training.loop import Progress
from pcae.training.optimizer import build_optimizer, parameter_groups, set_learning_rate, take_step

pytestmark = pytest.mark.trains
MUON = OptimizerConfig(optimizer="muon", base_lr=0.02, weight_decay=0.1)


class Net(nn.Module):
    """A convolution, a token and two matrices, one wide and one tall."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(2, 6, 2)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
        self.up, self.down = nn.Linear(6, 10), nn.Linear(10, 4)
        self.double()

    def forward(self, images):
        tokens = self.patches(images).flatten(2).mT + self.cls_token
        return self.down(self.up(tokens).tanh())


def backward(net: Net, step: int, scale: float = 1.0) -> None:
    images = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    (net(images).square().mean() * scale).backward()


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """Its singular values, of sum of squares 1, through five rounds of the polynomial."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / values.square().sum().sqrt()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ values.diag() @ right


def test_matrices_move_by_the_formula_and_all_else_as_by_adamw():
    net, other = Net(), Net()
    optimizer = build_optimizer(net, MUON)
    adamw = torch.optim.AdamW(parameter_groups(other, 0.1), lr=0.02, betas=(0.9, 0.95), foreach=False)
    averages = {name: torch.zeros_like(one) for name, one in net.named_parameters() if one.ndim == 2}
    assert averages.keys() == {"up.weight", "down.weight"}
    for step in range(4):
        other.load_state_dict(net.state_dict())
        for one in (net, other):
            backward(one, step)
        expected = {}
        for name, average in averages.items():
            weight = net.get_parameter(name)
            assert weight.grad is not None
            gradient = weight.grad.clone()
            average.copy_(0.95 * average + 0.05 * gradient)
            direction = orthogonalised(0.05 * gradient + 0.95 * average)
            size = 0.2 * max(weight.shape) ** 0.5
            expected[name] = weight.detach() * (1 - 0.02 * 0.1) - 0.02 * size * direction
        take_step(optimizer)
        adamw.step()
        adamw.zero_grad()
        expected = dict(other.state_dict()) | expected
        for name, weight in net.state_dict().items():
            torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_step_with_a_gradient_that_is_not_finite_changes_nothing(poison, first):
    """Neither decay nor momentum, in the first step either."""
    net, steady = Net(), Net()
    optimizer, its = build_optimizer(net, MUON), build_optimizer(steady, MUON)
    for step in range(0 if first else 2):
        for one, of in ((net, optimizer), (steady, its)):
            backward(one, step)
            take_step(of)
    backward(net, 5, poison)
    assert not take_step(optimizer)[1]
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), steady.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in net.parameters())
    for one, of in ((net, optimizer), (steady, its)):
        backward(one, 6)
        assert take_step(of)[1]
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), steady.parameters(), strict=True))


def test_it_holds_one_moment_of_matrices_and_goes_on_from_a_checkpoint_to_the_last_digit(tmp_path):
    net = Net()
    optimizer, progress = build_optimizer(net, MUON), Progress(5)
    for step in range(3):
        backward(net, step)
        take_step(optimizer)
    assert set(optimizer.state[net.up.weight]) == {"momentum_buffer"}
    assert set(optimizer.state[net.up.bias]) == {"step", "exp_avg", "exp_avg_sq"}
    path = Checkpoints(tmp_path, 1).save(net, optimizer, progress, {})
    again = Net()
    resumed = build_optimizer(again, MUON)
    restore(path, again, resumed, Progress(5))
    for one, of in ((net, optimizer), (again, resumed)):
        for step in (3, 4):
            backward(one, step)
            take_step(of)
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), again.parameters(), strict=True))


def test_layer_decay_scales_its_steps():
    net, half = Net(), Net()
    for one, scale in ((net, 1.0), (half, 0.5)):
        optimizer = build_optimizer(one, MUON, [{"params": [one.up.weight], "weight_decay": 0.0, "lr_scale": scale}])
        set_learning_rate(optimizer, 0.02)
        backward(one, 0)
        take_step(optimizer)
    begun = Net().up.weight
    torch.testing.assert_close(half.up.weight - begun, (net.up.weight - begun) / 2, rtol=0, atol=1e-12)
