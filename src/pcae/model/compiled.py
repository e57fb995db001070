"""How transformer blocks are computed: compiled, or twice instead of being remembered. What they compute stays."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pcae.model.backbones import BLOCKS

MOST_SHAPES = 64
"""Shapes for which blocks may be compiled, rather than torch's 8: every stage of a reduction has a shape of its own."""


GRAPHS = "reduce-overhead"
"""torch's mode in which a GPU replays what it was once asked for (CUDA graphs), so that nothing is started anew."""


def compile_blocks(module: nn.Module, mode: str | None = None) -> None:
    """Compile every transformer block in place, for static shapes; the names of weights stay.

    mode: torch.compile's. With GRAPHS every call of `module` begins a step, in which all that the graphs of the step
    before left is overwritten, gradients too. So it is for one micro-batch a step, whose gradients the optimizer takes
    and drops; weights and their moving average may change in place. For measuring: no GPU has run it yet.
    Raises ValueError for a model without timm's usual blocks.
    """
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_SHAPES)
    blocks = blocks_of(module)
    if not blocks:
        raise ValueError("there are none of timm's usual blocks to compile; use --compile never")
    for block in blocks:
        block.compile(dynamic=False, mode=mode)
    if mode == GRAPHS:
        module.register_forward_pre_hook(lambda *_: torch.compiler.cudagraph_mark_step_begin())


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """timm's transformer blocks in a module, in order."""
    return [part for part in module.modules() if isinstance(part, BLOCKS)]


def check_compiler(device: torch.device) -> None:
    """Compile something small. Raises ValueError where that fails, for want of a C++ compiler say."""
    try:
        torch.compile(torch.neg)(torch.zeros(2, device=device))
    except Exception as error:  # whatever a compiler's want may raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"blocks cannot be compiled here ({reason}); use --compile never") from error


def uncompiled() -> AbstractContextManager[None]:
    """Compiled blocks are computed as if they were not: each shape that is seen but now and then would be compiled."""
    return torch.compiler.set_stance("force_eager")


def checkpoint_blocks(module: nn.Module) -> None:
    """Have blocks keep nothing but their input for the backward pass, and compute the rest again in it."""
    for part in module.modules():
        if hasattr(part, "grad_checkpointing"):  # timm's name, on a VisionTransformer and on our decoder
            part.grad_checkpointing = True  # pyright: ignore[reportArgumentType]


def run_block(block: Callable[..., Tensor], *given: Any, grad_checkpointing: bool) -> Tensor:
    """What a block, or what calls it, makes of a sequence; with `grad_checkpointing` and a gradient to come, it is
    computed twice."""
    if grad_checkpointing and torch.is_grad_enabled():
        return checkpoint(block, *given, use_reentrant=False)
    return block(*given)
