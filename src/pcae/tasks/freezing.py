"""Parts of a Vision Transformer that are not trained: no gradient, nothing kept for one, no randomness."""

from torch import nn

from pcae.model.backbones import ViT
from pcae.settings.choices import Frozen

CLASSIFIER = ("head", "head_dist", "head_drop")
"""What timm calls the parts behind the encoder."""
NORMS = ("norm", "fc_norm")
"""What timm calls the last norm, before or after pooling."""


def freeze(vit: ViT, what: Frozen | None) -> list[nn.Module]:
    """Have parts of a ViT stay as they are. They need no gradient, so that nothing before the first block that is
    trained keeps anything for the backward pass.

    what: `encoder` is all but the linear classifier, a number so many first blocks and what stands before them.
    Returns the frozen modules, which belong into evaluation mode. Raises ValueError for blocks that are not there.
    """
    if what is None:
        return []
    depth = len(vit.blocks)
    blocks = what if isinstance(what, int) else depth
    if blocks > depth:
        raise ValueError(
            f"freeze must lie in [1, {depth}], as the network has {depth} blocks, or be encoder; got {what}"
        )
    trained = {"blocks", *CLASSIFIER, *(NORMS if isinstance(what, int) else ())}
    for name, parameter in vit.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name.split(".")[0] in trained)
    parts = [*(part for name, part in vit.named_children() if name not in trained), *list(vit.blocks)[:blocks]]
    for part in parts:
        part.requires_grad_(False)
    return parts


def keep_still(parts: list[nn.Module]) -> None:
    """Put frozen parts into evaluation mode, from which `train` of the whole takes them."""
    for part in parts:
        part.eval()


def frozen_parameters(module: nn.Module) -> list[nn.Parameter]:
    """What of a module is not trained."""
    return [parameter for parameter in module.parameters() if not parameter.requires_grad]


def say_frozen(module: nn.Module, what: Frozen | None) -> list[str]:
    """How much of a module is trained, in a line, where something was frozen."""
    if what is None:
        return []
    sizes = [parameter.numel() for parameter in module.parameters()]
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    named = f"the first {what} blocks, and all before them" if isinstance(what, int) else "the encoder"
    return [f"frozen: {named}; {trained / 1e6:.3g} M of {sum(sizes) / 1e6:.3g} M parameters are trained"]
