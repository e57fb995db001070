import pytest
import torch

from pcae.data.augment import Normalise, flip


def test_images_of_low_noise_are_mirrored():
    images = torch.randint(0, 255, (3, 2, 4, 5), dtype=torch.uint8)
    out = flip(images, torch.tensor([0.1, 0.5, 0.49]))
    assert torch.equal(out[0], images[0].flip(-1)) and torch.equal(out[1], images[1])
    assert torch.equal(out[2], images[2].flip(-1))


def test_normalise():
    out = Normalise([0.2, 0.4], [0.5, 0.25], 2)(torch.full((1, 2, 1, 1), 255, dtype=torch.uint8))
    torch.testing.assert_close(out.flatten(), torch.tensor([1.6, 2.4]))


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.1, 0.1]), ([0.1, 0.1], [0.2]), ([0.1, 0.1], [0.1, 0.0])])
def test_statistics_that_do_not_fit_are_refused(mean, std):
    with pytest.raises(ValueError, match="mean and std must|std must be positive"):
        Normalise(mean, std, 2)
