"""Full-state checkpoints: one safetensors file each, written beside and renamed, read without running code."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pcae.training.loop import Progress
from pcae.training.sharding import gathered, split_like
from pcae.writing import in_one_move, replace_text

CHECKSUM = "crc32"
"""The name of the tensors' checksum in a header."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run folder. `last` names the newest whole one."""

    folder: Path
    keep: int

    def save(
        self,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        facts: dict[str, Any],
        *,
        writes: bool = True,
    ) -> Path:
        """Write everything that a run needs to go on, then forget the oldest. `facts` must be JSON.

        Every process calls it where weights are split over them, and one `writes`: a file says nothing of that.
        """
        path = self.folder / f"step-{progress.step:08d}.safetensors"
        split = {f"method.{name}": value for name, value in method.state_dict().items()}
        split |= optimizer_tensors(method, optimizer)
        tensors = {name: value.cpu() for name, value in gathered(split) if writes}
        if not writes:
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        for torn in self.folder.glob(".step-*.writing"):  # of a run that was killed
            torn.unlink()
        tensors |= {"skipped": progress.skipped, "loss": progress.loss}
        header = {"step": progress.step, "seconds": progress.seconds, "torch": str(torch.__version__), **facts}
        save_atomically(path, tensors, header)
        replace_text(self.folder / "last", path.name)
        older = [old for old in sorted(self.folder.glob("step-*.safetensors")) if old.name < path.name]
        for old in older[: max(0, len(older) - self.keep + 1)]:
            old.unlink()
        return path

    def whole(self) -> tuple[Path, list[str]]:
        """The newest checkpoint that is not damaged, and why newer ones are passed over.

        Raises ValueError when all are damaged.
        """
        newest, faults = self.last(), []
        found = [] if newest is None else [newest]
        found += [path for path in sorted(self.folder.glob("step-*.safetensors"), reverse=True) if path != newest]
        for path in found:
            try:
                check_whole(path)
            except ValueError as error:
                faults.append(str(error))
            else:
                return path, faults
        raise ValueError(f"{'; '.join(faults)}; no checkpoint is whole: choose another --out to begin anew")

    def last(self) -> Path | None:
        """The newest whole checkpoint, if there is one."""
        pointer = self.folder / "last"
        return self.folder / pointer.read_text() if pointer.is_file() else None


def optimizer_tensors(method: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by parameter name: optimizer.NAME.exp_avg and so on."""
    return {
        f"optimizer.{name}.{key}": value
        for name, parameter in method.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_method(path: Path, method: nn.Module) -> dict[str, Tensor]:
    """Put a checkpoint's weights in place; returns all its tensors. Raises ValueError when they do not fit."""
    tensors, _ = read(path)
    own = {name.removeprefix("method."): value for name, value in tensors.items() if name.startswith("method.")}
    there = method.state_dict()
    try:
        method.load_state_dict({name: split_like(value, there.get(name, value)) for name, value in own.items()})
    except RuntimeError as error:
        raise ValueError(f"checkpoint {path} is of another model: {' '.join(str(error).split())[:200]}") from error
    return tensors


def restore(path: Path, method: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Put a checkpoint's whole state in place. Raises ValueError when it does not fit the method."""
    tensors = restore_method(path, method)
    for name, parameter in method.named_parameters():
        start = f"optimizer.{name}."
        state = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
        if state:
            optimizer.state[parameter] = {
                key: split_like(value, parameter).to(parameter.device) for key, value in state.items()
            }
    header = read_header(path)
    progress.step, progress.before = header["step"], header.get("seconds", 0.0)
    progress.skipped, progress.loss = tensors["skipped"], tensors["loss"]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and header of a file that `save_atomically` wrote. Raises ValueError when it is damaged."""
    header = read_header(path)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118


def checksum(tensors: dict[str, Tensor]) -> int:
    """CRC-32 of all tensors' bytes, by name."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return value


def check_whole(path: Path) -> None:
    """Raise ValueError for a file that is damaged: cut off, or with other bytes than were written."""
    tensors, header = read(path)
    if CHECKSUM in header and header[CHECKSUM] != checksum(tensors):
        raise ValueError(f"{path} is damaged: its checksum is not that of its tensors")


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file that `save_atomically` wrote. Raises ValueError when it is damaged or not ours."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})["pcae"])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no whole file of pcae's: {error}") from error


def save_atomically(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write a safetensors file so that `path` is at every moment absent, the old one or the new one, whole."""
    whole = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    header = {**header, CHECKSUM: checksum(whole)}
    with in_one_move(path) as beside:
        try:
            save_file(whole, beside, metadata={"pcae": json.dumps(header)})
        except SafetensorError as error:  # its only reason here is the disk
            raise OSError(str(error)) from error
