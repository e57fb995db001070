"""How the blocks of a run are computed: whether they are compiled, and whether a compiler is there."""

import torch
from torch import nn

from pcae.model.compiled import check_compiler, checkpoint_blocks, compile_blocks
from pcae.settings.run import RunConfig
from pcae.tasks.classification import Classification
from pcae.tasks.detection import Detection
from pcae.terminal import warn
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
    if not left_alone and compiling(run.compile, steps, world.device, world.is_main):
        compile_blocks(method)


def compiling(asked: str, steps: int, device: torch.device, is_main: bool = True) -> bool:
    """Whether blocks are compiled; where that would pay and cannot be done, the main process warns.

    Raises ValueError where it is asked for and cannot be done.
    """
    if not compiles(asked, steps, device):
        return False
    try:
        check_compiler(device)
    except ValueError as error:
        if asked == "always":
            raise
        if is_main:
            warn(str(error))
        return False
    return True
