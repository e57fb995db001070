"""What linear and attentive probe share: how the learning rate is chosen, and that nothing depends on chance."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pcae.data.batches import epoch_order
from pcae.evaluation.attentive import attentive_probe
from pcae.evaluation.frozen import Cached
from pcae.evaluation.linear import MOMENTUM, LinearHeads, linear_probe
from pcae.evaluation.probes import Examples, Standardise, fit, hold_out, probe, score
from pcae.settings.bounds import check_bounds
from pcae.settings.trained import ProbeTrainingConfig

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
SHORT = ProbeTrainingConfig(epochs=3, batch_size=32)


def blobs(images: int, seed: int, tokens: tuple[int, ...] = ()) -> Examples:
    """Three classes that overlap, so that rates differ and none is perfect."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (images,), generator=generator)
    centres = torch.randn(3, 8, generator=torch.Generator().manual_seed(9))
    noise = 2 * torch.randn(images, *tokens, 8, generator=generator)
    return Examples(Cached(noise + centres[labels].view(images, *(1 for _ in tokens), 8)), labels)


def run(which: str, test: Examples, config: ProbeTrainingConfig = SHORT):
    tokens = (4,) if which == "attentive" else ()
    if which == "linear":
        return linear_probe(blobs(150, 0), test, 3, config, CPU)
    return attentive_probe(blobs(150, 0, tokens), test, 3, 2, config, CPU)


@pytest.fixture(params=["linear", "attentive"])
def which(request) -> str:
    return request.param


@pytest.fixture
def test_images(which) -> Examples:
    return blobs(90, 1, (4,) if which == "attentive" else ())


def test_the_test_images_choose_nothing(which, test_images):
    before = run(which, test_images)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(3))
    after = run(which, replace(test_images, labels=test_images.labels[order]))
    assert before.selection == after.selection and before.learning_rate == after.learning_rate
    assert before.accuracy > after.accuracy + 0.2


def test_the_chosen_rate_is_the_best_on_held_out_training_images(which, test_images):
    found = run(which, test_images)
    assert len(set(found.selection.values())) > 1
    assert found.selection[found.learning_rate] == max(found.selection.values())


def test_the_seed_decides_everything(which, test_images):
    one, again = (replace(run(which, test_images), seconds=0.0) for _ in range(2))
    assert one == again
    assert replace(run(which, test_images, replace(SHORT, seed=1)), seconds=0.0) != one


def test_a_tenth_is_held_out_and_the_rest_is_trained_on():
    fitted, held_out = hold_out(105, seed=0)
    assert len(held_out) == 10 and sorted([*fitted.tolist(), *held_out.tolist()]) == list(range(105))
    assert not torch.equal(hold_out(105, seed=1)[1], held_out)
    assert [len(part) for part in hold_out(2, seed=0)] == [1, 1]


def test_held_out_images_are_no_part_of_the_training_that_chooses():
    """A head that remembers labels is perfect on what it saw and knows nothing of the rest."""
    train = Examples(Cached(torch.eye(50)), torch.arange(50) % 2)
    standardise = Standardise(train.features, 50)

    def build(rates):
        module = LinearHeads(standardise, 2, rates)
        return module, torch.optim.SGD(module.parameters(), lr=1.0)

    found = probe(build, train, train, [1.0], ProbeTrainingConfig(epochs=30))
    assert found.accuracy == 1.0 and found.selection[1.0] < 0.9


def test_the_final_classifier_sees_all_training_images():
    seen = []

    class Watched(Cached):
        def batches(self, rows, batch_size):
            seen.append(set(rows.tolist()))
            return super().batches(rows, batch_size)

    examples = blobs(40, 0)
    linear_probe(replace(examples, features=Watched(examples.features.values)), examples, 3, SHORT, CPU)
    _, *training = seen  # the first pass standardises
    assert [len(rows) for rows in training] == [36] * 3 + [4] + [40] * 3


def test_a_rate_of_the_sweep_is_plain_sgd_at_this_rate():
    examples, rates = blobs(70, 0), [0.01, 0.3]
    standardise = Standardise(examples.features, 70)
    module = LinearHeads(standardise, 3, rates)
    for parameter in module.parameters():
        parameter.register_hook(module.rates.mul)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0, momentum=MOMENTUM)
    fit(module, optimizer, examples, torch.arange(70), SHORT)

    alone = nn.Linear(8, 3)
    nn.init.zeros_(alone.weight)
    nn.init.zeros_(alone.bias)
    plain = torch.optim.SGD(alone.parameters(), lr=rates[1], momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(plain, T_max=9)
    values = examples.features.values
    values = (values - values.mean(0)) / values.std(0, correction=0)
    for epoch in range(3):
        for rows in epoch_order(70, 0, epoch).split(32):
            plain.zero_grad()
            F.cross_entropy(alone(values[rows]), examples.labels[rows]).backward()
            plain.step()
            schedule.step()
    torch.testing.assert_close(module.weight[1], alone.weight.T, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(module.bias[1, 0], alone.bias, rtol=1e-3, atol=1e-5)


def test_features_are_standardised_over_all_their_axes_but_the_last():
    values = torch.randn(50, 7, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-1, 1, 30, 0]) + 5
    found = Standardise(Cached(values), 16)(values).flatten(0, 1)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.tensor([1.0, 1, 1, 0]), atol=1e-3, rtol=0)


def test_score_counts_by_rate():
    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, features):
            return torch.stack([F.one_hot(torch.zeros(len(features), dtype=torch.int64), 3).float(), features])

    labels = torch.tensor([0, 1, 2, 2, 1])
    examples = Examples(Cached(F.one_hot(labels, 3).float()), labels)
    assert score(Answers(), examples, torch.arange(5), 2) == [0.2, 1.0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ProbeTrainingConfig(epochs=0), "epochs must be at least 1, got 0"),
        (ProbeTrainingConfig(batch_size=0), "batch_size must be at least 1, got 0"),
        (ProbeTrainingConfig(seed=-1), r"seed must lie in \[0, 2\^63\), got -1"),
    ],
)
def test_settings_that_cannot_be(config, message):
    with pytest.raises(ValueError, match=message):
        check_bounds(config)


def test_one_training_image_is_too_few():
    with pytest.raises(ValueError, match="two training images or more, got 1"):
        linear_probe(blobs(1, 0), blobs(5, 1), 3, SHORT, CPU)
