"""Which checkpoint a run goes on from, and its state put in place."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from pcae.runs.roll_back import count_roll_backs
from pcae.settings.recipes import AUTO
from pcae.settings.training import RUNTIME_SETTINGS, RunSettings
from pcae.settings.values import build, to_plain
from pcae.terminal import warn
from pcae.training.checkpoint import Checkpoints, restore
from pcae.training.distributed import World
from pcae.training.loop import Progress
from pcae.training.run_folder import facts_of, find_checkpoint


def checkpoints_of(config: RunSettings) -> Checkpoints:
    """Where the run's checkpoints lie."""
    return Checkpoints(config.out / "checkpoints", config.run.keep_checkpoints)


def resume_from(
    config: RunSettings,
    identity: dict[str, Any],
    method: nn.Module,
    optimizer: torch.optim.AdamW,
    progress: Progress,
    world: World,
) -> dict[str, Any]:
    """Put the state of the checkpoint to go on from in place, if there is one; settings, the data's statistics, and how
    often the run went back.

    identity: what the run is of beside its settings: which images, which classes.
    """
    settings = {name: value for name, value in to_plain(config).items() if name not in RUNTIME_SETTINGS}
    mean, std = (None if given is None else list(given) for given in (config.reading.mean, config.reading.std))
    checkpoint = world.from_main(lambda: checkpoint_to_resume(config, settings))
    settings |= identity
    if checkpoint is None:
        facts: dict[str, Any] = {"mean": mean, "std": std}
    else:
        facts = facts_of(checkpoint, settings, to_plain(build(type(config), {})))
        if mean is not None and (mean, std) != (facts["mean"], facts["std"]):
            raise ValueError(f"{checkpoint} has mean {facts['mean']} and std {facts['std']}, not {mean} and {std}")
        restore(checkpoint, method, optimizer, progress)
    roll_backs = max(facts.get("roll_backs", 0), world.from_main(lambda: count_roll_backs(config.out, progress.step)))
    return {"settings": settings, "mean": facts["mean"], "std": facts["std"], "roll_backs": roll_backs}


def checkpoint_to_resume(config: RunSettings, settings: dict[str, Any]) -> Path | None:
    """The checkpoint to go on from, if there is one: with resume=auto the newest that is not damaged; newer ones are
    named. Raises ValueError when all are damaged, or when the folder holds another run."""
    usual = to_plain(build(type(config), {}))
    checkpoint = find_checkpoint(checkpoints_of(config), config.resume, settings, usual)
    if checkpoint is None or config.resume != AUTO:
        return checkpoint
    path, faults = checkpoints_of(config).whole()
    for fault in faults:
        warn(f"{fault}; going on from {path}")
    return path
