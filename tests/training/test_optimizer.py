import pytest
import torch

from pcae.methods.pcae import PCAE
from pcae.settings.bounds import check_bounds
from pcae.settings.methods import PCAEConfig
from pcae.settings.run import OptimizerConfig
from pcae.training.optimizer import build_optimizer, parameter_groups, take_step

pytestmark = pytest.mark.trains


def test_only_matrices_decay(encoder):
    method = PCAE(encoder, PCAEConfig())
    decayed, free = (set(map(id, group["params"])) for group in parameter_groups(method, 0.05))
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert id(parameter) not in decayed | free
        elif name.endswith(("bias", "cls_token", "mask_token")) or "norm" in name:
            assert id(parameter) in free, name
        else:
            assert id(parameter) in decayed and name.endswith("weight"), name
    assert "teacher" not in {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_step_with_a_gradient_that_is_not_finite_changes_nothing(poison):
    layer = torch.nn.Linear(3, 3)
    optimizer = build_optimizer(layer, OptimizerConfig(base_lr=0.1))

    def step(factor):
        (layer(torch.ones(2, 3)).square().sum() * factor).backward()
        return take_step(optimizer)[1]

    assert bool(step(1.0))
    weights = layer.weight.detach().clone()
    state = {k: v.clone() for k, v in optimizer.state[layer.weight].items()}
    assert not bool(step(poison))
    assert torch.equal(weights, layer.weight)
    assert all(torch.equal(value, optimizer.state[layer.weight][key]) for key, value in state.items())
    assert layer.weight.grad is None
    assert bool(step(1.0)) and not torch.equal(weights, layer.weight)


def test_clipping_bounds_the_gradient_and_reports_its_norm_before():
    layer = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(layer.weight.grad.clone()))
    (layer.weight * 30.0).sum().backward()
    norm, _ = take_step(optimizer, clip_grad=2.0)
    assert norm.item() == pytest.approx(30.0) and seen[0].item() == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [{"base_lr": 0.0}, {"clip_grad": -1.0}, {"warmup_epochs": -1.0}, {"weight_decay": -0.1}, {"betas": (0.9, 1.0)}],
)
def test_values_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must"):
        check_bounds(OptimizerConfig(**wrong))


def test_the_step_is_torchs_adamw():
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    theirs.load_state_dict(ours.state_dict())
    mine = build_optimizer(ours, OptimizerConfig(base_lr=0.01))
    plain = torch.optim.AdamW(parameter_groups(theirs, 0.05), lr=0.01, betas=(0.9, 0.95), foreach=False)
    for _ in range(5):
        for layer in (ours, theirs):
            layer(torch.ones(2, 4)).square().sum().backward()
        take_step(mine)
        plain.step()
        plain.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight)
