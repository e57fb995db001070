"""What the objects hold that settings carry: a run goes on with the same ones alone, and their words say too little."""

import hashlib
from types import FunctionType
from typing import Any

from torch import nn

from pcae.data.images import Images
from pcae.settings.given import Given
from pcae.settings.sources import given_in
from pcae.settings.training import RunSettings
from pcae.settings.values import flatten
from pcae.sharing.contents import digest_of, digest_of_images


def identity_of(config: RunSettings, images: Images) -> dict[str, Any]:
    """What a run is of beside its settings: its images, and a digest of each object in its settings."""
    found: dict[str, Any] = {"images": len(images), "files": images.digest()}
    if given_in(config.data):
        found["contents of data"] = digest_of_images(images)
    objects = {name: value.value for name, value in flatten(config).items() if isinstance(value, Given)}
    found |= {f"tensors of {name}": digest_of(one) for name, one in objects.items() if isinstance(one, nn.Module)}
    found |= {f"code of {name}": digest_of_code(one) for name, one in objects.items() if isinstance(one, FunctionType)}
    return found


def digest_of_code(function: FunctionType) -> str:
    """What a function does, wherever it stands; not what it calls."""
    code = function.__code__
    constants = [one for one in code.co_consts if isinstance(one, str | int | float | tuple | None)]
    return hashlib.blake2b(code.co_code + repr((code.co_names, constants)).encode(), digest_size=8).hexdigest()
