"""How the blocks of a run are computed: whether they are compiled, and whether a compiler is there."""

import torch
from torch import nn

from pcae.model.compiled import check_compiler, checkpoint_blocks, compile_blocks
from pcae.settings.run import RunConfig
from pcae.tasks.classification import Classification
from pcae.tasks.detection import Detection
from pcae.terminal import console, warn
from pcae.training.distributed import World
from pcae.training.plan import compiles


def set_blocks(method: nn.Module, run: RunConfig, steps: int, world: World) -> None:
    """Have the blocks computed as the run asks for. Raises ValueError where they must be compiled and cannot be.

    Classifiers and detectors are compiled only where that is asked for: every ratio of a ramp, every rate of drop path,
    and every size of image would be compiled for itself.
    """
    if run.grad_checkpointing:
        checkpoint_blocks(method)
    left_alone = run.compile == "auto" and isinstance(method, Classification | Detection)
    if not left_alone and compiling(run.compile, steps, world):
        compile_blocks(method)


def compiling(asked: str, steps: int, world: World) -> bool:
    """Whether blocks are compiled, in all processes or in none: every process calls it, and tries.

    Where it would pay and one of them cannot, the main one warns. Raises ValueError, in all of them, where it is
    asked for and cannot be done.
    """
    if not compiles(asked, steps, world.device):
        return False
    failed = {rank: why for rank, why in enumerate(world.gather(why_not(world.device))) if why}
    if not failed:
        if world.size > 1 and world.is_main:
            console.print(f"blocks are compiled, in all {world.size} processes")
        return True
    rank, reason = next(iter(failed.items()))
    if world.size > 1:
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        reason = f"blocks are compiled in no process, because of process {rank}{others}: {reason}"
    if asked == "always":
        raise ValueError(reason)
    if world.is_main:
        warn(reason)
    return False


def why_not(device: torch.device) -> str | None:
    """Why this process cannot compile, if it cannot."""
    try:
        check_compiler(device)
    except ValueError as error:
        return str(error)
    return None
