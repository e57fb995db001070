import pytest
import torch
from torch import nn

from pcae.evaluation.attentive import AttentiveHead, attentive_probe
from pcae.evaluation.frozen import Cached
from pcae.evaluation.linear import linear_probe
from pcae.evaluation.probes import Examples
from pcae.settings.trained import ProbeTrainingConfig

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")


def test_it_is_torchs_attention_of_one_query():
    """Query into keys first, values after the average: the same function, and the same gradients of its weights."""
    torch.manual_seed(0)
    head, tokens = AttentiveHead(12, 3, 5), torch.randn(4, 7, 12)
    theirs = nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
    with torch.no_grad():
        head.query.copy_(torch.randn(12))
        theirs.in_proj_weight.copy_(torch.cat([torch.eye(12), head.key.weight, head.value.weight]))
        theirs.out_proj.weight.copy_(torch.eye(12))
    expected, _ = theirs(head.query.expand(4, 1, -1), tokens, tokens)
    found = head.pool(tokens)
    torch.testing.assert_close(found, expected[:, 0])
    weights = torch.randn(4, 12)
    (found * weights).sum().backward()
    assert head.key.weight.grad is not None and head.value.weight.grad is not None
    mine = torch.cat([head.key.weight.grad, head.value.weight.grad])
    (expected[:, 0] * weights).sum().backward()
    torch.testing.assert_close(mine, theirs.in_proj_weight.grad[12:])


def one_token_tells(images: int, seed: int) -> Examples:
    """The class stands in the token that feature 0 marks; another token says the opposite, so that the mean is mute."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (images,), generator=generator)
    tokens = 0.1 * torch.randn(images, 9, 8, generator=generator)
    places = torch.stack([torch.randperm(9, generator=generator)[:2] for _ in range(images)])
    sign, rows = (labels * 2 - 1).float(), torch.arange(images)
    tokens[rows, places[:, 0], 0] += 1
    tokens[rows, places[:, 0], 1] += sign
    tokens[rows, places[:, 1], 1] -= sign
    return Examples(Cached(tokens), labels)


def test_it_finds_a_class_that_one_token_tells_and_the_mean_hides():
    train, test = one_token_tells(400, 0), one_token_tells(200, 1)
    means = [Examples(Cached(part.features.values.mean(1)), part.labels) for part in (train, test)]
    config = ProbeTrainingConfig(epochs=20, batch_size=64)
    assert linear_probe(means[0], means[1], 2, config, CPU).accuracy < 0.65
    assert attentive_probe(train, test, 2, 2, config, CPU).accuracy > 0.95


def test_heads_share_their_start_and_touch_each_other_nowhere():
    """A rate in the sweep scores what it scores alone."""
    train = one_token_tells(120, 0)
    config = ProbeTrainingConfig(epochs=3, batch_size=32)
    together = attentive_probe(train, train, 2, 2, config, CPU).selection
    for rate in (1e-3, 1e-2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pcae.evaluation.attentive.RATES", (rate,))
            assert attentive_probe(train, train, 2, 2, config, CPU).selection == {rate: together[rate]}
