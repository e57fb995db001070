"""Parts of images are found by their pixels, mirrored or not; stripes and other photographs are none."""

import pytest
import torch
from torch.nn import functional as F

from pcae.data.duplicates import near_by_features
from pcae.data.excerpts import ROUGH, WINDOWS, best_fits, shrink, stripes, windows_of
from tests.evaluation.test_check_data import crops

CPU = torch.device("cpu")
FITS = 0.85


def pixels(image):
    """As uint8, one image."""
    width, height = image.size
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, height, width, 3).permute(0, 3, 1, 2)


def square(image):
    """Its small copy, squeezed to a square, as models are shown it."""
    return shrink(pixels(image))


def striped(angle, shift):
    """Bars across an image: they change along one direction alone."""
    places = torch.arange(64) - 31.5
    turn = torch.tensor(angle).deg2rad()
    along = places[:, None] * turn.sin() + places * turn.cos()
    return (127 + 120 * torch.sin((along + shift) / 6)).to(torch.uint8).expand(1, 3, 64, 64)


def test_windows_from_afar_are_means_of_their_cells():
    images = torch.rand(2, 3, 64, 64)
    found = windows_of(images)
    for place in range(0, len(WINDOWS), 13):
        top, left, side = WINDOWS[place]
        cells = F.adaptive_avg_pool2d(images[..., top : top + side, left : left + side], ROUGH)
        wanted = (cells - cells.mean((2, 3), keepdim=True)).flatten(1)
        torch.testing.assert_close(found[:, place], wanted / wanted.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("box", [(0, 0, 190, 158), (31, 17, 226, 180), (20, 10, 239, 193), (0, 0, 240, 200)])
def test_a_part_of_a_photograph_fits_into_it_and_into_no_other(box, mirrored):
    photographs = crops(6)
    part = photographs[0].crop(box).resize((150, 120))
    part = part.transpose(0) if mirrored else part
    small = torch.cat([square(part), *map(square, photographs)])
    pairs = torch.tensor([[0, other] for other in range(1, 7)])
    fit = best_fits(small, pairs, CPU)
    assert fit[0] >= FITS > fit[1:].max()
    torch.testing.assert_close(best_fits(small, pairs.flip(1), CPU), fit)


def test_brightness_and_noise_do_not_hide_a_part():
    (photograph,) = crops(1)
    part = square(photograph.crop((20, 20, 225, 190))).float() * 0.7 + 40 + 3 * torch.randn(1, 3, 64, 64)
    small = torch.cat([square(photograph), part.clamp(0, 255).to(torch.uint8)])
    assert best_fits(small, torch.tensor([[0, 1]]), CPU).item() >= FITS


@pytest.mark.parametrize("angle", [0.0, 27.0, 45.0, 90.0])
def test_stripes_fit_where_they_are_the_same_and_not_shifted(angle):
    small = torch.cat([striped(angle, 0), striped(angle, 0), striped(angle, 9)])
    assert stripes(small).all() and not stripes(torch.cat([square(one) for one in crops(5)])).any()
    same, shifted = best_fits(small, torch.tensor([[0, 1], [0, 2]]), CPU).tolist()
    assert same > 0.99 and shifted < FITS


def test_images_with_like_features_are_tied_where_one_is_a_part_of_the_other():
    photographs = crops(6)
    shown = [*photographs, photographs[2].crop((10, 10, 220, 190)), photographs[4].transpose(0)]
    features = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    groups = near_by_features(features, torch.cat(list(map(square, shown))), range(100, 108), FITS, CPU)
    assert [one.members for one in groups] == [[102, 106], [104, 107]]
    assert all(FITS <= one.similarity <= 1 + 1e-5 for one in groups)
    assert near_by_features(features[:1], square(shown[0]), [100], FITS, CPU) == []
