"""The attentive probe: a learned query attends over the frozen patch tokens, a linear layer tells the class."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcae.evaluation.probes import Epochs, Examples, Probed, Standardise, probe
from pcae.settings.trained import ProbeTrainingConfig

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Learning rates of AdamW."""
WEIGHT_DECAY = 0.01


class AttentiveHead(nn.Module):
    """Multi-head attention of one learned query, then a linear layer.

    The query is multiplied into the keys' weights first, and the values' weights come after the average: the same
    function as projecting every token to a key and a value, for a fraction of the work.
    """

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(0.02 * torch.randn(width))
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.classifier = nn.Linear(width, classes)

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch classes"]:
        """The logits."""
        return self.classifier(self.pool(tokens))

    def pool(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
        """What the query sees."""
        query, key, value = (
            part.unflatten(0, (self.heads, -1)) for part in (self.query, self.key.weight, self.value.weight)
        )
        directions = torch.einsum("hc,hcd->dh", query, key) * query.shape[1] ** -0.5
        attention = (tokens @ directions).softmax(dim=1)
        seen = attention.transpose(1, 2) @ tokens
        return torch.einsum("bhd,hcd->bhc", seen, value).flatten(1)


class AttentiveHeads(nn.Module):
    """The same head for each learning rate, on the same standardised tokens."""

    def __init__(self, standardise: Standardise, heads: int, classes: int, count: int, seed: int) -> None:
        super().__init__()
        self.standardise = standardise
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = AttentiveHead(len(standardise.mean), heads, classes)
        self.each = nn.ModuleList(deepcopy(head) for _ in range(count))

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "rates batch classes"]:
        """The logits of every head."""
        tokens = self.standardise(tokens)
        return torch.stack([head(tokens) for head in self.each])


def attentive_probe(
    train: Examples,
    test: Examples,
    classes: int,
    heads: int,
    config: ProbeTrainingConfig,
    device: torch.device,
    follow: Epochs = iter,
) -> Probed:
    """Accuracy of attention with `heads` heads and a linear layer by AdamW, on patch tokens."""
    standardise = Standardise(train.features, config.batch_size)

    def build(rates: Sequence[float]) -> tuple[nn.Module, torch.optim.Optimizer]:
        module = AttentiveHeads(standardise, heads, classes, len(rates), config.seed).to(device)
        groups = [
            {"params": list(head.parameters()), "lr": rate} for head, rate in zip(module.each, rates, strict=True)
        ]
        return module, torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)

    return probe(build, train, test, RATES, config, follow)
