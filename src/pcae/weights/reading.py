"""Tensors out of files, without running any code that a file holds."""

import argparse
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

TORCH_SUFFIXES = (".pth", ".pt", ".bin")
"""Files that torch.save wrote."""
FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""torch's own switch."""


def read_safetensors(path: Path, start: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and header of a .safetensors file. Raises ValueError when it is damaged.

    start: what the names of those that are wanted begin with, and lose.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(start)]  # noqa: SIM118
            return {name.removeprefix(start): file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error


def read_torch(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the CPU, of a torch checkpoint, and the settings that a training script saved beside them.

    Raises ValueError when it is damaged, holds no tensors, or holds more than data: nothing of it is run.
    """
    content = unpickled(path)
    return tensors_in(content, path), settings_in(content)


def tensors_in(content: Any, path: Path) -> dict[str, Tensor]:
    """Tensors under "model", "state_dict" or flat, without "module." in front. Raises ValueError for none."""
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    named = content.items() if isinstance(content, dict) else ()
    tensors = {str(name).removeprefix("module."): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path} holds no tensors by name, neither under model or state_dict nor by themselves")
    return tensors


def settings_in(content: Any) -> dict[str, Any]:
    """The parsed command line under "args"; none where there is none, or something else."""
    said = content.get("args") if isinstance(content, dict) else None
    if isinstance(said, argparse.Namespace):
        return vars(said)
    return said if isinstance(said, dict) else {}


def number_in(settings: dict[str, Any], name: str) -> int | None:
    """A whole number above 0 among the settings; None where there is none, or something else."""
    value = settings.get(name)
    return value if type(value) is int and value > 0 else None


def unpickled(path: Path) -> Any:
    """What torch.save wrote there, of tensors and plain data only."""
    check_stored(path)
    try:
        with data_only(), warnings.catch_warnings(action="ignore"):  # on the pickle's protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of every kind on what only looks like its file
        named = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, UnpicklingError) else None
        if named:
            raise ValueError(
                f"{path} wants to run {named[1]} when it is opened: refused, and nothing was run; "
                "have its tensors saved as .safetensors by somebody who trusts it"
            ) from error
        raise ValueError(f"{path} is no whole file of torch.save's: {reason_of(error, 120)}") from error


def check_stored(path: Path) -> None:
    """Raise ValueError for an archive whose parts are larger than it is: torch.save compresses nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = sum(part.file_size for part in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):  # torch says what is wrong with it
        return
    if parts > path.stat().st_size:
        raise ValueError(
            f"{path} says that its {path.stat().st_size:,} bytes unpack to {parts:,}, which torch.save's never do: "
            "refused"
        )


@contextmanager
def data_only() -> Iterator[None]:
    """torch.load takes tensors, plain data and the parsed command lines that training scripts save, and runs nothing.

    The environment says so too, because older releases of timm ask torch.load to run whatever is there.
    """
    before = os.environ.get(FORCE)
    os.environ[FORCE] = "1"
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            yield
    finally:
        del os.environ[FORCE]
        if before is not None:
            os.environ[FORCE] = before


def reason_of(error: BaseException, most: int = 200) -> str:
    """What an error says, in one line of at most so many characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ValueError when the file holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content
