"""What the objects hold that settings carry: a run goes on with the same ones alone, and their words say too little."""

import hashlib
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import nn

from pcae.data.files.decode import Unreadable
from pcae.data.images import Images
from pcae.settings.given import Given
from pcae.settings.sources import given_in
from pcae.settings.training import RunSettings
from pcae.settings.values import flatten

LOOKED_AT = 16
"""Images of an object whose pixels count."""


def identity_of(config: RunSettings, images: Images) -> dict[str, Any]:
    """What a run is of beside its settings: its images, and a digest of each object in its settings."""
    found: dict[str, Any] = {"images": len(images), "files": images.digest()}
    if given_in(config.data):
        found["contents of data"] = digest_of_images(images)
    objects = {name: value.value for name, value in flatten(config).items() if isinstance(value, Given)}
    found |= {f"tensors of {name}": digest_of(one) for name, one in objects.items() if isinstance(one, nn.Module)}
    found |= {f"code of {name}": digest_of_code(one) for name, one in objects.items() if isinstance(one, FunctionType)}
    return found


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


def digest_of_code(function: FunctionType) -> str:
    """What a function does, wherever it stands; not what it calls."""
    code = function.__code__
    constants = [one for one in code.co_consts if isinstance(one, str | int | float | tuple | None)]
    return hashlib.blake2b(code.co_code + repr((code.co_names, constants)).encode(), digest_size=8).hexdigest()
