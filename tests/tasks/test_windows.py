"""Windows in every family: a token gets what timm's own attention gives it where it sees its window alone."""

import itertools

import pytest
import torch

from pcae.model.backbones import backbone_of
from pcae.model.encoder import Encoder
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.detection_backbone import DetectionBackbone
from pcae.tasks.windows import in_windows
from tests.model.test_backbones import GRID, VARIANTS, begin, images, made, step

ROWS, COLUMNS = GRID
DETECTION = DetectionConfig(pyramid_channels=16, window=2, global_blocks=(3,))


def in_masks(model, index: int, maps: torch.Tensor, window: int) -> torch.Tensor:
    """Each window by itself in an image of which none looks at the rest; what is beyond the image is zeros.

    A window stands where it is. One that is partly beyond the image stands at its left edge.
    """
    first, out = model.num_prefix_tokens, torch.zeros_like(maps)
    for top, left in itertools.product(range(0, ROWS, window), range(0, COLUMNS, window)):
        here = maps[:, top : top + window, left : left + window]
        at = left if left + window <= COLUMNS else 0
        run = begin(model, images(), 0)
        alive, placed = torch.zeros(2, *GRID, dtype=torch.bool), torch.zeros_like(maps)
        alive[:, top : top + window, at : at + window] = True
        placed[:, top : top + window, at : at + here.shape[2]] = here
        run.alive[:, :first], run.alive[:, first:] = False, alive.flatten(1)
        run.sequence[:, first:] = placed.flatten(1, 2)
        whole = step(run, index)[:, first:].unflatten(1, GRID)
        out[:, top : top + window, left : left + window] = whole[:, top : top + window, at : at + here.shape[2]]
    return out


@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_window_is_what_masks_give(variant, window):
    """Windows of 2 fill the image; of the second window of 4, a half is beyond it."""
    model = made(variant)
    tokens = torch.randn(2, ROWS * COLUMNS, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    calling = in_windows(backbone_of(model).calling(GRID), GRID, window, ())
    call = calling(torch.arange(ROWS * COLUMNS).expand(2, -1), 0, 0)
    for index in (0, 2):
        with torch.no_grad():
            expected = in_masks(model, index, tokens.unflatten(1, GRID), window)
            found = call(index, model.blocks[index], tokens).unflatten(1, GRID)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("variant", ["DINOv3", "BEiT", "BEiT with shared bias", "rotary by block"])
def test_a_detector_has_windows_in_all_but_its_global_blocks(variant):
    model, pictures = made(variant), images()
    detector = DetectionBackbone(Encoder(model), DETECTION).double()
    with torch.no_grad():
        maps = detector.token_maps(pictures)
        run, first = begin(model, pictures, 0), model.num_prefix_tokens
        dense = run.sequence[:, first:].unflatten(1, GRID)
        for index in range(3):
            dense = in_masks(model, index, dense, 2)
            torch.testing.assert_close(maps[index].movedim(1, -1), dense, rtol=1e-5, atol=1e-5)
        run.alive[:, :first] = False
        run.sequence[:, first:] = dense.flatten(1, 2)
        last = step(run, 3)[:, first:].unflatten(1, GRID)
        torch.testing.assert_close(maps[3].movedim(1, -1), last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["DINOv3", "BEiT"])
def test_every_weight_that_a_detector_trains_has_a_gradient(variant):
    detector = DetectionBackbone(Encoder(made(variant)), DETECTION).double()
    sum(level.square().mean() for level in detector(torch.randn(1, 3, 32, 64, dtype=torch.float64)).values()).backward()
    for name, one in detector.named_parameters():
        assert not one.requires_grad or one.grad.abs().max() > 0, name
