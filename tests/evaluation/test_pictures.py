import torch
from PIL import Image

from pcae.evaluation.pictures import BLANK, blank_out, draw_stages


def test_blank_patches_are_exactly_those_that_are_not_there():
    images = torch.randint(0, 50, (2, 3, 32, 48), dtype=torch.uint8)
    ids = torch.tensor([[0, 7, 23], [5, 6, 12]])
    out = blank_out(images, ids, (4, 6))
    for image in range(2):
        for position in range(24):
            row, column = divmod(position, 6)
            patch = out[image, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            own = images[image, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].permute(1, 2, 0)
            expected = own if position in ids[image] else torch.tensor(BLANK, dtype=torch.uint8).expand_as(own)
            assert torch.equal(patch, expected)


def test_gray_images_are_drawn_too(tmp_path):
    images = torch.randint(0, 255, (2, 1, 28, 28), dtype=torch.uint8)
    draw_stages(
        tmp_path / "kept.png",
        images,
        [("hidden", torch.tensor([[1, 2], [3, 4]])), ("kept", torch.tensor([[1], [4]]))],
        (7, 7),
    )
    with Image.open(tmp_path / "kept.png") as picture:
        assert min(picture.size) > 300
