"""Decoders asked in one way: what ends early is said to be cut off, what is not installed is named."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from pcae.data.files.stored import as_bands

CUT = "it is cut off or damaged"


def decoded(decode: Callable[..., np.ndarray], *content: Any, **options: Any) -> np.ndarray:
    """The samples that a decoder makes, as height x width x bands. Raises ValueError where it makes none."""
    try:
        return as_bands(decode(*content, **options))
    except (ValueError, RuntimeError, EOFError) as error:  # those of imagecodecs are RuntimeErrors
        raise ValueError(f"{CUT} ({error})") from error


def optional(module: str, what: str) -> Any:
    """A decoder that not everybody needs. Raises ValueError with the remedy where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f'it is {what}, which needs another package: pip install "pcae[formats]"') from error
