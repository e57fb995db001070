"""What the device does to a batch: mirror and normalise."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


def flip(
    images: UInt8[Tensor, "batch channels height width"], noise: Float[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Mirror the images whose noise is below one half, left to right."""
    return torch.where((noise < 0.5).view(-1, 1, 1, 1), images.flip(-1), images)


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
        """Normalise a batch."""
        return (images.float() / 255 - self.get_buffer("mean")) / self.get_buffer("std")
