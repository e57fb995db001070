"""The linear probe: one linear layer on standardised pooled features, all learning rates in one tensor."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.evaluation.probes import Epochs, Examples, Probed, Standardise, probe
from pcae.settings.trained import ProbeTrainingConfig

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
"""Learning rates of SGD for one step of the mean loss; the features have variance 1, whatever the encoder."""
MOMENTUM = 0.9


class LinearHeads(nn.Module):
    """A linear layer for each learning rate, from zero, after the features are standardised."""

    rates: Tensor

    def __init__(self, standardise: Standardise, classes: int, rates: Sequence[float]) -> None:
        super().__init__()
        self.standardise = standardise
        self.register_buffer("rates", torch.tensor(rates)[:, None, None])
        self.weight = nn.Parameter(torch.zeros(len(rates), len(standardise.mean), classes))
        self.bias = nn.Parameter(torch.zeros(len(rates), 1, classes))

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "rates batch classes"]:
        """The logits of every layer."""
        return torch.einsum("bd,rdc->rbc", self.standardise(features), self.weight) + self.bias


def linear_probe(
    train: Examples,
    test: Examples,
    classes: int,
    config: ProbeTrainingConfig,
    device: torch.device,
    follow: Epochs = iter,
) -> Probed:
    """Accuracy of a linear layer by SGD with momentum and no weight decay (the protocol of MAE, without LARS)."""
    standardise = Standardise(train.features, config.batch_size)

    def build(rates: Sequence[float]) -> tuple[nn.Module, torch.optim.Optimizer]:
        module = LinearHeads(standardise, classes, rates).to(device)
        for parameter in module.parameters():  # SGD is linear in its gradient: times the rate, it has that rate
            parameter.register_hook(module.rates.mul)
        return module, torch.optim.SGD(module.parameters(), lr=1.0, momentum=MOMENTUM)

    return probe(build, train, test, RATES, config, follow)
