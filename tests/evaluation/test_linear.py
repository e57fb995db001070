import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pcae.evaluation.frozen import Cached
from pcae.evaluation.knn import knn_accuracies
from pcae.evaluation.linear import linear_probe
from pcae.evaluation.probes import Examples
from pcae.settings.trained import ProbeTrainingConfig

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")


def test_it_finds_a_direction_that_the_neighbours_miss():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (1200,), generator=generator)
    features = torch.randn(1200, 64, generator=generator) * 10
    features[:, 17] = (labels * 2 - 1) + 0.3 * torch.randn(1200, generator=generator)
    train, test = ((features[part], labels[part]) for part in (slice(800), slice(800, None)))
    assert knn_accuracies(*train, *test)[20] < 0.65
    found = linear_probe(
        Examples(Cached(train[0]), train[1]), Examples(Cached(test[0]), test[1]), 2, ProbeTrainingConfig(), CPU
    )
    assert found.accuracy > 0.95


def test_it_is_as_good_as_scikit_learns():
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
    scaler = StandardScaler().fit(x[:1000].numpy())
    theirs = LogisticRegression(max_iter=500).fit(scaler.transform(x[:1000].numpy()), y[:1000].numpy())
    expected = theirs.score(scaler.transform(x[1000:].numpy()), y[1000:].numpy())
    found = linear_probe(
        Examples(Cached(x[:1000]), y[:1000]), Examples(Cached(x[1000:]), y[1000:]), 10, ProbeTrainingConfig(), CPU
    )
    assert found.accuracy == pytest.approx(expected, abs=0.02)


def test_units_and_origins_of_features_do_not_matter():
    digits = load_digits()
    x, y = torch.tensor(digits.data[:500], dtype=torch.float32), torch.tensor(digits.target[:500])
    x = x[:, x.std(0) > 0.5]
    scale = 2.0 ** torch.arange(x.shape[1]).remainder(9)
    results = [
        linear_probe(
            Examples(Cached(values[:400]), y[:400]),
            Examples(Cached(values[400:]), y[400:]),
            10,
            ProbeTrainingConfig(epochs=5),
            CPU,
        )
        for values in (x, x * scale + 3)
    ]
    assert results[0].accuracy == results[1].accuracy > 0.8
    assert results[0].selection == results[1].selection
