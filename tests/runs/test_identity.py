"""A run goes on with the same objects alone: other images, weights or functions of one name are refused."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.utils.data import Dataset

import pcae
from pcae.data.images import open_images
from pcae.runs.identity import digest_of_code
from pcae.sharing.contents import digest_of, digest_of_images


class Own(Dataset):
    """Noise with labels; other noise each time where `moves`."""

    def __init__(self, seed, shift=0, moves=False):
        self.draw, self.shift, self.moves = np.random.default_rng(seed), shift, moves
        self.pixels = self.draw.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        pixels = self.draw.integers(0, 256, (16, 16, 3), dtype=np.uint8) if self.moves else self.pixels[index]
        return Image.fromarray(pixels), (index + self.shift) % 2


def function(turns):
    """A function of one name and text, whatever it does."""
    return (lambda image: image.rotate(90)) if turns else (lambda image: image)


def opened(data):
    return digest_of_images(open_images(data, labels=True))


def test_images_are_told_apart_by_pixels_and_labels_unless_they_never_are_the_same():
    assert opened(Own(0)) == opened(Own(0)) and len({opened(Own(0)), opened(Own(1)), opened(Own(0, shift=1))}) == 3
    assert opened(Own(0, moves=True)) == opened(Own(1, moves=True))


def test_models_and_functions_are_told_apart_by_what_they_hold():
    first, second = (torch.nn.Linear(2, 2, dtype=torch.bfloat16) for _ in range(2))
    assert digest_of(first) != digest_of(second)
    second.load_state_dict(first.state_dict())
    assert digest_of(first) == digest_of(second)
    assert digest_of_code(lambda x: x + 1) != digest_of_code(lambda x: x + 2)
    assert digest_of_code(lambda x: x + 1) == digest_of_code(lambda x: x + 1)


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"data": Own(2)}, "contents of data"),
        ({"weights": 1}, "tensors of weights"),
        ({"transform": function(True)}, "code of transform"),
    ],
)
def test_a_run_does_not_go_on_with_other_objects(tmp_path, other, reason):
    def vit(seed):
        torch.manual_seed(seed)
        sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 2}
        return timm.create_model("vit_tiny_patch16_224", **sizes)

    knobs = {"steps": 2, "batch_size": 8, "device": "cpu", "transform": function(False), "validation": Own(1)}
    first = {"data": Own(0), "weights": 0, **knobs}
    again = first | other
    for given, fails in ((first, False), (first, False), (again, True)):
        call = given | {"weights": vit(given["weights"]), "out": tmp_path / "run"}
        if fails:
            with pytest.raises(ValueError, match=f"is of a run with {reason} = "):
                pcae.finetune(**call)
        else:
            pcae.finetune(**call)
