"""Images as callers give them, held against what a model takes: their shape, type and range."""

from torch import Tensor

BRIGHTEST = 64.0
"""Where no value is below 0 and some are above this, pixels were not normalised."""


def check_shape(images: Tensor, channels: int, size: tuple[int, int]) -> None:
    """Raise ValueError, with the remedy, unless images are (batch, `channels`, *`size`). Looks at no value."""
    if images.ndim != 4:
        remedy = "; for a single image, give images[None]" if images.ndim == 3 else ""
        raise ValueError(f"images must be (batch, channels, height, width), got {tuple(images.shape)}{remedy}")
    _, found, height, width = images.shape
    if found != channels:
        raise ValueError(
            f"the model takes images of {channels} channels, got {found}; convert them, or build it for "
            f"theirs: EncoderConfig(channels={found}), timm's in_chans={found}"
        )
    if (height, width) != size:
        raise ValueError(
            f"the model takes images of {size[0]} x {size[1]} pixels, got {height} x {width}; resize them, or have it "
            "for other sizes, multiples of its patches: pcae.load(weights, image_size=(H, W)), or image_size where it "
            "is built"
        )


def check_normalised(images: Tensor) -> None:
    """Raise ValueError, with the remedy, for pixels as they are read, of whole numbers. Looks at no value."""
    if not images.is_floating_point():
        raise ValueError(
            f"normalised images in floats are wanted, got {images.dtype}: divide by 255, subtract the mean and divide "
            "by the standard deviation, as torchvision's v2.ToDtype(torch.float32, scale=True) and v2.Normalize do"
        )


def check_range(images: Tensor) -> None:
    """Raise ValueError for floats that are pixels from 0 to 255. It waits for the device."""
    if images.numel() and images.amin() >= 0 and images.amax() > BRIGHTEST:
        raise ValueError(
            f"normalised images are wanted, got values from {float(images.amin()):g} to {float(images.amax()):g}: "
            "divide by 255, subtract the mean and divide by the standard deviation"
        )
