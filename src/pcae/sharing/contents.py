"""What images and models hold, in a few letters: their words and names say too little of objects."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from pcae.data.files.decode import Unreadable
from pcae.data.images import Images

LOOKED_AT = 16
"""Images of an object whose pixels count."""


def digest_of_images(images: Images) -> str:
    """Labels, classes, and the pixels of some images, unless these are others each time that they are asked for."""
    said = [list(one or ()) for one in (images.labels, images.label_sets, images.classes)]
    digest = hashlib.blake2b(repr(said).encode(), digest_size=8)
    first, again = ([stored(images, index) for index in images.some(LOOKED_AT)] for _ in range(2))
    if first == again:
        digest.update(b"".join(first))
    return digest.hexdigest()


def stored(images: Images, index: int) -> bytes:
    """An image as it is stored; nothing of one that cannot be read."""
    try:
        source = images.source(index)
        return Path(source).read_bytes() if isinstance(source, str) else bytes(source)
    except (Unreadable, OSError):
        return b""


def digest_of(model: nn.Module) -> str:
    """All tensors of a model."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(name.encode() + flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
