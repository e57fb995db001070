"""What helps where a model is of no family: what it holds, who else has it, or the plain one that is nearest."""

import math
import re

import timm
import torch
from timm.models import is_model_pretrained
from torch import nn

SIZES = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24), "huge": (1280, 32)}
"""Width and depth of timm's VisionTransformers by the word in their names."""
PLAIN = "vit_base_patch16_224"
HELD = {"_orig_mod": "._orig_mod", "module": ".module", "vit": ".vit", "encoder": ".encoder"}
OTHERS = {"transformers": "save_pretrained its folder and give that", "torchvision": "take timm's of its size"}


def remedy(model: nn.Module, name: str | None = None) -> str:
    """What to do where a model is of no family. name: timm's, where that is what was given."""
    within = next((part for part, word in HELD.items() if isinstance(getattr(model, part, None), nn.Module)), None)
    if within and name is None:
        return f"give what it holds: {HELD[within]}"
    start = type(model).__module__.partition(".")[0]
    if start in OTHERS:
        return OTHERS[start]
    known = name or (getattr(model, "pretrained_cfg", None) or {}).get("architecture") or ""
    return f"try {nearest(known, sum(parameter.numel() for parameter in model.parameters()))}"


def nearest(name: str, parameters: int) -> str:
    """timm's plain VisionTransformer with weights that is nearest to a model of that name and so many parameters.

    The nearest in size, and of those, where there is one, of the patches and of the image size that the name has.
    """
    words = min(SIZES, key=lambda size: abs(math.log(plain_parameters(size) / max(1, parameters))))
    sides = [*re.findall(r"patch(\d+)", name)[:1], "16", "14"]
    lengths = [*re.findall(r"_(\d{3})(?=[_.]|$)", name)[-1:], "224"]
    names = [f"vit_{words}_patch{side}_{length}" for side in sides for length in lengths]
    return next((one for one in names if timm.is_model(one) and is_model_pretrained(one)), PLAIN)


def plain_parameters(size: str) -> int:
    """About how many parameters timm's VisionTransformer of that size has."""
    width, depth = SIZES[size]
    return 12 * depth * width**2


def by_name(name: str) -> nn.Module:
    """timm's model of that name as timm makes it, without memory for its weights."""
    with torch.device("meta"):
        return timm.create_model(name)
