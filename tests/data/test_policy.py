"""Distortions and erasing depend on seed and place in the run alone, and leave the libraries' generators alone."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from pcae.data.crops import RandomCrops, picture_of
from pcae.data.images import open_images
from pcae.data.policy import AugmentedCrops, check_policy, distorted, distortion, seeded
from pcae.settings.reading import PolicyConfig

NOTHING = PolicyConfig(auto_augment="none", erasing=0.0)


def crops(policy: PolicyConfig, channels: int = 1, seed: int = 0) -> AugmentedCrops:
    images = open_images("sample", channels=channels)
    return AugmentedCrops(images, (28, 28), (0.5, 1.0), seed, policy, (0.3,) * channels, (0.2,) * channels)


def test_without_a_policy_they_are_the_plain_crops():
    plain = RandomCrops(open_images("sample"), (28, 28), (0.5, 1.0), 0)
    for item in ((3, 0), (3, 1), (7, 100)):
        assert torch.equal(crops(NOTHING)[item], plain[item])


@pytest.mark.parametrize("channels", [1, 3])
def test_seed_and_place_decide_in_any_order(channels):
    one, other = crops(PolicyConfig(), channels), crops(PolicyConfig(), channels)
    backwards = {place: other[place % 9, place] for place in reversed(range(40))}
    assert all(torch.equal(one[place % 9, place], crop) for place, crop in backwards.items())
    assert not all(torch.equal(crops(PolicyConfig(), channels, seed=1)[p % 9, p], backwards[p]) for p in range(40))
    assert all(crop.shape == (channels, 28, 28) and crop.dtype == torch.uint8 for crop in backwards.values())


def test_the_libraries_generators_are_left_as_they_were():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded(1, 2):
            drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert drawn[0] == drawn[1] and random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1] and torch.equal(torch.get_rng_state(), before[2])


def test_a_rectangle_becomes_noise_of_the_datas_mean_and_deviation_and_the_rest_stays():
    erased = crops(replace(NOTHING, erasing=1.0))
    plain, noise, boxes = crops(NOTHING), [], 0
    for place in range(150):
        changed = (erased[place, place] != plain[place, place])[0]
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        if len(rows):
            box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
            noise.append(erased[place, place][0][box].flatten())
            assert changed[box].float().mean() > 0.7 and changed.sum() <= 0.4 * 28 * 28
            boxes += 1
    values = torch.cat(noise).float() / 255
    assert (
        boxes > 140 and values.mean() == pytest.approx(0.3, abs=0.03) and values.std() == pytest.approx(0.2, abs=0.03)
    )


def test_erasing_is_as_frequent_as_it_says():
    erased, plain = crops(replace(NOTHING, erasing=0.25)), crops(NOTHING)
    hits = sum(not torch.equal(erased[index, index], plain[index, index]) for index in range(400))
    assert 70 < hits < 130


def test_a_distortion_that_pillow_refuses_leaves_the_picture_as_it_is():
    picture = picture_of(open_images("sample").open(0))

    def refuse(_):
        raise ValueError("bits must be between or equal to 1 and 8")

    assert distorted(picture, refuse) is picture


@pytest.mark.parametrize("name", ["rand-m9-mstd0.5-inc1", "augmix-m3-w3", "original", "3a"])
def test_timms_policies_are_known_by_timms_names(name):
    assert distortion(PolicyConfig(auto_augment=name), (0.5,) * 3, 32) is not None


@pytest.mark.parametrize(
    ("policy", "channels", "message"),
    [
        (replace(NOTHING, auto_augment="nothing"), 3, "auto_augment 'nothing' is no policy of timm's"),
        (PolicyConfig(), 5, "is for gray or colour, not 5 channels; use --auto-augment none"),
    ],
)
def test_what_cannot_be_is_refused(policy, channels, message):
    with pytest.raises(ValueError, match=message):
        check_policy(policy, channels)
