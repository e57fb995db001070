"""The nearest vectors and their votes are those of one process that holds all."""

import pytest
import torch
from torch.nn import functional as F

from pcae.evaluation.knn import knn_accuracies
from tests.processes import succeed, together


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """300 labelled vectors, and 1,300 that are asked for: more than two blocks of each process."""
    chance = torch.Generator().manual_seed(0)
    labels, expected = (torch.randint(5, (count,), generator=chance) for count in (300, 1300))
    centres = torch.randn(5, 24, generator=chance)
    features, asked = (
        centres[some] + 2.5 * torch.randn(len(some), 24, generator=chance) for some in (labels, expected)
    )
    folder = tmp_path_factory.mktemp("vectors")
    torch.save((features, labels, asked, expected), folder / "all.pt")
    return folder, features, labels, asked, expected


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shares_find_what_one_process_finds(vectors, processes):
    folder, features, labels, asked, expected = vectors
    succeed(*together(["tests.sharing.neighbours_worker", str(folder)], processes))
    found = [torch.load(folder / f"{processes}-{rank}.pt") for rank in range(processes)]
    cosines = F.normalize(asked.double(), dim=1) @ F.normalize(features.double(), dim=1).T
    similarity, places = cosines.topk(20, dim=1)
    askers = len([one for one in found if one[0] is not None])
    assert sum(len(one[1]) for one in found) == len(asked)
    for place, near, voters, _ in (one for one in found if one[0] is not None):
        torch.testing.assert_close(near, similarity[place::askers].float(), rtol=0, atol=1e-6)
        assert torch.equal(voters, labels[places[place::askers]])
    accuracy = knn_accuracies(features, labels, asked, expected)[20]
    assert [one[3] for one in found] == [accuracy] * processes and 0.3 < accuracy < 0.95
