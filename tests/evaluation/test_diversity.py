import math

import numpy as np
import pytest
import torch

from pcae.evaluation.diversity import diversities, nuclear_norm, trace, traces
from pcae.evaluation.estimates import by_claim, estimate, judge
from pcae.model.reduction import Reduction
from pcae.model.tokens import all_ids, gather, patchify

REDUCTION = Reduction.for_pretraining(6)
"""After blocks 0, 2, 4 of 6: 24 tokens become 12, 6 and 3."""


@pytest.fixture
def patches(images) -> torch.Tensor:
    return patchify(images, (8, 8))


@pytest.fixture
def noise(patches) -> torch.Tensor:
    return torch.rand(len(patches), 24, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (1, 7), (7, 1)])
def test_the_nuclear_norm_is_numpys(shape):
    tokens = np.random.default_rng(0).normal(size=(3, *shape))
    rows = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
    expected = [np.linalg.norm(one, ord="nuc") / shape[0] for one in rows]
    assert nuclear_norm(torch.from_numpy(tokens)).tolist() == pytest.approx(expected, abs=1e-12)
    assert nuclear_norm(torch.from_numpy(100 * tokens).float()).tolist() == pytest.approx(expected, abs=1e-5)


def test_parallel_and_orthogonal_tokens_give_the_bounds():
    generator = torch.Generator().manual_seed(0)
    parallel = torch.randn(1, 9, 1, generator=generator).double() * torch.randn(1, 1, 20, generator=generator).double()
    assert nuclear_norm(parallel).item() == pytest.approx(1 / math.sqrt(9), abs=1e-12)
    orthogonal = torch.linalg.qr(torch.randn(20, 20, generator=generator).double())[0][None, :9] * 3
    assert nuclear_norm(orthogonal).item() == pytest.approx(1, abs=1e-12)
    tight = torch.cat([torch.eye(4), torch.eye(4)])[None]  # more tokens than features: at most sqrt(features / tokens)
    assert nuclear_norm(tight).item() == pytest.approx(math.sqrt(4 / 8), abs=1e-6)


def test_half_precision_is_measured_in_float32():
    tokens = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = nuclear_norm(tokens)
    assert found.dtype == torch.float32
    assert torch.equal(found, nuclear_norm(tokens.float()))


def test_layers_are_the_input_and_what_each_block_puts_out(encoder, patches):
    """Layer 0 has patches with positions, layer i + 1 is what timm's block i makes of layer i; no class token."""
    with torch.no_grad():
        found = trace(encoder, patches)
        vit = encoder.vit
        assert torch.allclose(found.after[0], encoder.embed(patches) + vit.pos_embed[:, 1:], atol=1e-6)
        for index, block in enumerate(vit.blocks):
            assert torch.allclose(found.after[index + 1], block(found.after[index]), atol=1e-5)
        assert torch.allclose(found.encoded.tokens, vit.norm(found.after[-1]), atol=1e-6)
    assert len(found.after) == 7 and found.before[3] is found.after[3]
    assert not vit.blocks[0]._forward_pre_hooks


def test_layers_are_measured_after_the_reduction_and_before_it(encoder, patches, noise):
    with torch.no_grad():
        found = traces(encoder, patches, ["ptr"], REDUCTION, noise)["ptr"]
        assert [tokens.shape[1] for tokens in found.after] == [24, 12, 12, 6, 6, 3, 3]
        assert [tokens.shape[1] for tokens in found.before] == [24, 24, 12, 12, 6, 6, 3]
        first = encoder.vit.blocks[0](found.after[0])
        assert torch.allclose(found.after[1], gather(first, found.encoded.stages[0].kept_ids), atol=1e-5)
        values = diversities(found)
    assert values["after"].shape == values["before"].shape == (4, 7)
    for layer in range(7):
        assert torch.allclose(values["after"][:, layer], nuclear_norm(found.after[layer]))
        assert torch.allclose(values["before"][:, layer], nuclear_norm(found.before[layer]))
    assert torch.allclose(values["output"], nuclear_norm(found.encoded.tokens))


def test_random_drop_keeps_what_the_noise_says_and_sampled_measures_the_same_tokens(encoder, patches, noise):
    with torch.no_grad():
        found = traces(encoder, patches, ["none", "random", "sampled"], REDUCTION, noise)
    expected = noise.argsort(dim=1)[:, :3].sort(dim=1).values
    assert torch.equal(found["random"].encoded.ids, expected) and torch.equal(found["sampled"].encoded.ids, expected)
    assert torch.equal(found["sampled"].encoded.tokens, gather(found["none"].encoded.tokens, expected))
    for layer, count in enumerate([24, 12, 12, 6, 6, 3, 3]):
        ids = noise.argsort(dim=1)[:, :count].sort(dim=1).values
        assert torch.equal(found["sampled"].after[layer], gather(found["none"].after[layer], ids))
    assert torch.allclose(found["sampled"].after[1], found["random"].after[1])  # nothing has been dropped before
    assert not torch.allclose(found["sampled"].after[2], found["random"].after[2])
    assert torch.equal(found["none"].encoded.ids, all_ids(4, 24, noise.device))


def test_standard_errors_are_over_images_and_over_seeds():
    values = torch.tensor([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]])
    found = estimate(values)
    assert found.mean == pytest.approx(4)
    assert found.over_images == pytest.approx(np.std([2, 3, 7], ddof=1) / math.sqrt(3))
    assert found.over_seeds == pytest.approx(np.std([3, 5], ddof=1) / math.sqrt(2))
    assert found.error == max(found.over_images, found.over_seeds)
    single = estimate(torch.tensor([[2.0]]))
    assert (single.over_images, single.over_seeds, single.error) == (None, None, 0.0)


def test_a_claim_holds_by_two_standard_errors_of_the_difference_and_in_all_cases():
    base = torch.tensor([[0.0, 50.0, 100.0, 150.0]])  # images differ far more than the two things
    near, far = base + torch.tensor([[0.0, 2.0, 1.0, 0.0]]), base + torch.tensor([[1.0, 2.0, 1.0, 2.0]])
    verdicts = [judge("3.2", "c", "a", far, base), judge("3.2", "c", "b", near, base), judge("3.3", "d", "", base, far)]
    assert [verdict.holds for verdict in verdicts] == [True, False, False]
    assert verdicts[0].difference.mean == pytest.approx(1.5)
    first, second = by_claim(verdicts)
    assert first["claim"] == "c" and not first["holds"] and [case["case"] for case in first["cases"]] == ["a", "b"]
    assert second["section"] == "3.3" and by_claim(verdicts[:1])[0]["holds"]
