"""A transform of the caller's: what it is given, what seeds it, what it may give back."""

import random
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from pcae.data.images import open_images
from pcae.data.transforms import transform_of, try_out
from pcae.settings.given import Given

COLOURS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def views(transform, image=COLOURS, channels=3):
    return try_out(open_images([image], channels=channels), (16, 24), 3, transform)


class ByName:
    """The shape of albumentations' calls, and its generator."""

    def __init__(self):
        self.random = np.random.default_rng()

    def set_random_seed(self, seed):
        self.random = np.random.default_rng(seed)

    def __call__(self, *, image):
        assert isinstance(image, np.ndarray) and image.dtype == np.uint8
        top = self.random.integers(0, 20)
        return {"image": np.ascontiguousarray(image[top : top + 16, :24])}


def with_every_generator(picture):
    top, left = random.randrange(20), int(np.random.randint(20))
    return picture.crop((left, top, left + 24, top + 16)).rotate(90 * int(torch.randint(2, (1,))) * 2)


SIZE = (16, 24)
TRANSFORMS = {
    "v1": v1.Compose([v1.RandomResizedCrop(SIZE), v1.RandomHorizontalFlip(), v1.PILToTensor()]),
    "v2": v2.Compose([v2.RandomResizedCrop(SIZE), v2.ColorJitter(0.4)]),
    "v2 on tensors": v2.Compose([v2.PILToTensor(), v2.RandomResizedCrop(SIZE, antialias=True)]),
    "by name": ByName(),
    "own": with_every_generator,
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_views_follow_from_seed_and_position_alone(name):
    shown = views(TRANSFORMS[name])
    first, second = shown[0, 7], shown[0, 8]
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    before = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    assert torch.equal(shown[0, 7], first) and not torch.equal(first, second)
    assert (torch.rand(1), np.random.rand(), random.random()) == before  # nobody else's numbers are touched
    assert first.dtype == torch.uint8 and first.shape == (3, *SIZE)


def test_what_a_transform_gives_is_what_is_trained_on():
    shown = views(lambda picture: picture.crop((4, 2, 28, 18)))
    assert np.array_equal(shown[0, 0].permute(1, 2, 0), COLOURS[2:18, 4:28])
    gray = views(lambda picture: picture.convert("L").crop((4, 2, 28, 18)))
    assert gray[0, 0].shape == (3, *SIZE) and torch.equal(gray[0, 0][0], gray[0, 0][2])


@pytest.mark.parametrize(
    ("channels", "kind"), [(1, Image.Image), (3, Image.Image), (4, torch.Tensor), (6, torch.Tensor)]
)
def test_it_is_given_a_picture_of_gray_or_colour_and_a_tensor_of_other_bands(channels, kind):
    given = []

    def note(image):
        given.append(image)
        return np.zeros((*SIZE, channels), np.uint8)

    views(note, np.zeros((40, 50, channels), np.uint8), channels)
    assert isinstance(given[0], kind) and (kind is Image.Image or given[0].shape == (channels, 40, 50))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            v2.Compose([v2.Resize(SIZE), v2.ToImage(), v2.ToDtype(torch.float32, True)]),
            "gives float32; .*leave ToTensor",
        ),
        (v1.Resize((16, 16)), r"gives 16 x 16 pixels, and the model takes 16 x 24; end it with Resize\(\(16, 24\)\)"),
        (lambda picture: None, "gives NoneType"),
        (lambda picture: 1 / 0, "transform fails on 'list(1)[0]': ZeroDivisionError"),
        (lambda picture: np.zeros((16, 24, 5), np.uint8), "other channels than its image: it has 5 channels, not 3"),
        (lambda picture: {"picture": picture}, "gives NoneType"),
        (
            lambda picture: torch.zeros(2, 3, 16, 24, dtype=torch.uint8),
            "gives 2 x 3 x 16 x 24; it has to give one image",
        ),
    ],
)
def test_what_is_no_view_is_refused_before_the_run(transform, message):
    with pytest.raises(ValueError, match=message.replace("(1)[0]", r"\(1\)\[0\]")):
        views(transform)


def test_words_of_a_transform_are_none():
    assert transform_of(None) is None and transform_of(Given(partial, "p")) is partial
    with pytest.raises(ValueError, match="is an object of Python's; give it to pcae.pretrain"):
        transform_of("Compose(...)")
