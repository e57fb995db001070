"""Models of the Hugging Face Hub, hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION: safetensors and JSON, no pickles."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from huggingface_hub import snapshot_download

from pcae.weights.loaded import Loaded
from pcae.weights.reading import WHOLE, reason_of

START = "hf-hub:"
"""What weights of the Hub begin with."""
TENSORS = ("classifier.safetensors", "encoder.safetensors", WHOLE[0], f"{WHOLE[0]}.index.json")
"""Files of which one must be there: those of a run folder, or timm's and transformers'."""
FETCHED = ("*.safetensors", "*.json")
"""Nothing in these runs when it is opened."""


def read(weights: str, find: Callable[[Path], Loaded]) -> Loaded:
    """What a repository holds, by what finds it in a folder. Raises ValueError, which names the repository."""
    folder = fetch(weights)
    try:
        return replace(find(folder), source=f"{weights} (commit {folder.name[:12]})")
    except ValueError as error:
        raise ValueError(f"weights {weights}: {error}") from error


def fetch(weights: str) -> Path:
    """The folder of a repository's safetensors and JSON files, out of the cache where it is there already.

    Raises ValueError, with the remedy, where it cannot be had, and for a repository whose weights are pickles.
    """
    name, sign, revision = weights.removeprefix(START).partition("@")
    if sign and not revision:
        raise ValueError(f"weights {weights!r} name no revision behind @; leave it out for the newest one")
    try:
        folder = snapshot_download(name, revision=revision or None, allow_patterns=[*FETCHED], ignore_patterns=["*/*"])
    except Exception as error:  # the Hub's client raises errors of its own, of httpx and of the system
        raise ValueError(
            f"weights {weights} cannot be had: {reason_of(error)}; check name and connection, or give a folder that "
            "was downloaded elsewhere"
        ) from error
    if not any((Path(folder) / file).is_file() for file in TENSORS):
        raise ValueError(
            f"weights {weights} have no {WHOLE[0]}, and nothing else is taken from the Hub: pickles run code; ask "
            "their owner for safetensors, or download the file and give its path, of which only tensors are read"
        )
    return Path(folder)
