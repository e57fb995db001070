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

FIRST = 40
"""Bytes by which a file is known, whatever it is called."""
ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How files of torch.save begin, now and before torch 1.6."""
GRAPHS = {"code/": "a TorchScript program", "models/model.json": "an exported program", ".npy": "a file of NumPy's"}
"""What archives of others hold, by a part of a name in them."""
CONFIG = "config.json"
"""What says of a folder what is in it, Hugging Face's and timm's alike."""
WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Files of a folder of Hugging Face's with all of its tensors; with .index.json behind it, what names its parts."""
FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""torch's own switch."""


def by_torch(path: Path) -> bool:
    """Whether torch.save wrote a file, not safetensors. Raises ValueError, by what it is, where neither did."""
    with path.open("rb") as file:
        first = file.read(FIRST)
    if first.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a pointer of Git LFS, not the file itself; git lfs pull fetches that")
    if first[8:9] != b"{" and not first.startswith((ZIP, PICKLE)):
        begins = f"it begins with {first[:16]!r}" if first else "it is empty"
        raise ValueError(f"{path} is no whole safetensors file and none of torch.save's: {begins}")
    return first[8:9] != b"{"


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
    """All tensors, their names joined by dots where they stand in dictionaries. Raises ValueError for none."""
    tensors = dict(named_in(content))
    if not tensors:
        raise ValueError(f"{path} holds no tensors by name, neither under model or state_dict nor by themselves")
    return tensors


def named_in(content: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in dictionaries of dictionaries, less those of optimizers. A dictionary is looked at once."""
    waiting, seen = [("", content)], set[int]()
    while waiting:
        start, inner = waiting.pop(0)
        if not isinstance(inner, dict) or id(inner) in seen:
            continue
        seen.add(id(inner))
        for name, value in inner.items():
            if isinstance(value, Tensor):
                yield f"{start}{name}", value
            elif "optim" not in str(name):
                waiting.append((f"{start}{name}.", value))


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
        with data_only(), warnings.catch_warnings(action="ignore"), path.open("rb") as file:  # on the pickle's protocol
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of every kind on what only looks like its file
        named = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, UnpicklingError) else None
        if named:
            raise ValueError(
                f"{path} wants to run {named[1]} when it is opened: refused, and nothing was run; "
                "have its tensors saved as .safetensors by somebody who trusts it"
            ) from error
        raise ValueError(f"{path} is no whole file of torch.save's: {reason_of(error, 120)}") from error


def check_stored(path: Path) -> None:
    """Raise ValueError for an archive of others, and one whose parts are larger than it is: torch.save compresses
    nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts, names = sum(part.file_size for part in archive.infolist()), archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):  # torch says what is wrong with it
        return
    other = next((kind for mark, kind in GRAPHS.items() if any(mark in name for name in names)), None)
    if other:
        raise ValueError(f"{path} is {other}, not weights by name; give the weights that it was made of")
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


def read_folder(folder: Path) -> dict[str, Tensor]:
    """All tensors: of one file, or of several by their index. Raises ValueError when there are none."""
    for name in WHOLE:
        if (folder / name).is_file():
            return read_either(folder / name)
        if (folder / f"{name}.index.json").is_file():
            return read_parts(folder, folder / f"{name}.index.json")
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    called = f"; {others[0]} is called otherwise: rename it to {WHOLE[0]}" if len(others) == 1 else ""
    raise ValueError(f"{folder} has a {CONFIG} but no {' or '.join(WHOLE)}, nor the index of its parts{called}")


def read_either(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors' or torch's."""
    return read_torch(path)[0] if by_torch(path) else read_safetensors(path)[0]


def read_parts(folder: Path, index: Path) -> dict[str, Tensor]:
    """All tensors of the files that an index names. Raises ValueError where one lacks of those that it promises."""
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict):
        raise ValueError(f"{index} has no weight_map, which says where each tensor is")
    odd = [name for name in files.values() if not isinstance(name, str) or Path(name).name != name]
    if odd:
        raise ValueError(f"{index} names {odd[0]!r}, which is no file of the folder")
    gone = [name for name in files.values() if not (folder / name).is_file()]
    if gone:
        raise ValueError(f"{index} names {gone[0]}, which is not there: fetch the folder again, whole")
    tensors = {
        name: value for part in sorted(set(files.values())) for name, value in read_either(folder / part).items()
    }
    lost = [name for name in files if name not in tensors]
    if lost:
        raise ValueError(f"{index} promises {lost[0]}, which {files[lost[0]]} does not hold: fetch the folder again")
    return tensors


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
