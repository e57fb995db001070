"""What the device does to a batch: crop, mirror and normalise."""

import torch
from jaxtyping import Float, Real, UInt8
from torch import Tensor, nn


def flip(
    images: UInt8[Tensor, "batch channels height width"], noise: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Mirror the images whose noise is below one half, left to right.

    They are picked from all and all mirrored: a choice pixel by pixel takes three times as long on a CPU.
    """
    rows = torch.arange(len(images), device=images.device) + len(images) * (noise < 0.5)
    return torch.cat([images, images.flip(-1)]).index_select(0, rows)


class Normalise(nn.Module):
    """uint8 pixels -> float32 with the data's mean 0 and standard deviation 1 by channel.

    Raises ValueError when mean or std do not fit the channels or a std is not positive.
    """

    def __init__(self, mean: list[float], std: list[float], channels: int) -> None:
        super().__init__()
        if len(mean) != channels or len(std) != channels:
            raise ValueError(f"mean and std must have {channels} values, one a channel, got {mean} and {std}")
        if min(std) <= 0:
            raise ValueError(f"std must be positive, got {std}: do all images have the same colour?")
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(
        self, images: UInt8[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise a batch. Raises ValueError, with the remedy, for pixels of another type."""
        check_pixels(images)
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return images.to(mean.dtype).div_(255).sub_(mean).div_(std)


def check_pixels(images: Tensor) -> None:
    """Raise ValueError, with the remedy, unless pixels are uint8. Looks at no value."""
    if images.dtype != torch.uint8:
        raise ValueError(
            f"images as they are read are wanted, uint8 from 0 to 255, got {images.dtype}; give "
            "(images * 255).round().to(torch.uint8) for floats from 0 to 1, and images that are normalised already to "
            "model.encoder"
        )


def crop_batch(
    pixels: UInt8[Tensor, "batch channels height width"],
    boxes: Real[Tensor, "batch 4"],
    size: tuple[int, int],
) -> UInt8[Tensor, "batch channels rows columns"]:
    """A box of each image resized to `size` (height, width): bicubic, antialiased.

    boxes: left, top, right and bottom in whole pixels, inside the image. It is two matrix products for each image, so
    that shapes do not depend on the boxes and the device is never waited for.
    """
    left, top, right, bottom = boxes.float().unbind(1)
    rows = bicubic_weights(top, bottom, pixels.shape[2], size[0])
    columns = bicubic_weights(left, right, pixels.shape[3], size[1])
    across = (pixels.float() @ columns.unsqueeze(1).mT).round_().clamp_(0, 255)  # as where 8 bits are kept in between
    return (rows.unsqueeze(1) @ across).round_().clamp_(0, 255).to(torch.uint8)


def bicubic_weights(
    start: Float[Tensor, " batch"], stop: Float[Tensor, " batch"], length: int, size: int
) -> Float[Tensor, "batch size length"]:
    """What each of `length` pixels in a row counts for each of `size` that the part from start to stop is resized to.

    Keys' cubic with a = -0.5, as wide as a new pixel where that is wider than an old one.
    """
    places, new = (torch.arange(count, device=start.device, dtype=start.dtype) + 0.5 for count in (length, size))
    step = ((stop - start) / size).view(-1, 1, 1)
    centres = start.view(-1, 1, 1) + new.view(1, -1, 1) * step
    distance = ((places - centres) / step.clamp_min(1)).abs()
    near = (1.5 * distance - 2.5) * distance.square() + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    counts = (distance < 2) & (places > start.view(-1, 1, 1)) & (places < stop.view(-1, 1, 1))
    weights = torch.where(distance < 1, near, far) * counts
    return weights / weights.sum(2, keepdim=True)
