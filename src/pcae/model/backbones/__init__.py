"""timm's families of Vision Transformers: one adapter each, and the one place that tells them apart."""

from typing import Any

from timm.models import is_model_in_modules
from torch import nn

from pcae.model.backbones.backbone import Backbone
from pcae.model.backbones.beit import BeitBackbone
from pcae.model.backbones.distilled import DistilledBackbone
from pcae.model.backbones.eva import EvaBackbone
from pcae.model.backbones.naflex import NaFlexBackbone

ViT = Any
"""A model of one of the families. Blocks, norms and classifiers have the same names in all of them."""
FAMILIES: tuple[type[Backbone], ...] = (Backbone, DistilledBackbone, EvaBackbone, BeitBackbone, NaFlexBackbone)
"""All adapters; adding a family is one file and its name here."""
BLOCKS = tuple({block for family in FAMILIES for block in family.block_types})
"""The classes of blocks of all families."""


SUPPORTED = f"only timm's {', '.join(family.model_type.__name__ for family in FAMILIES)} are supported"


def backbone_of(model: nn.Module) -> Backbone:
    """The adapter of a model. Raises ValueError, by name, for a model of another family or another patch embedding."""
    for family in FAMILIES:
        if type(model) is family.model_type:
            return family(model)
    raise ValueError(f"{SUPPORTED}, got {type(model).__name__}{nearest(model)}")


def options_of(model: str, options: dict[str, Any]) -> dict[str, Any]:
    """timm's arguments for a model of that name, from those of a VisionTransformer."""
    family = next((one for one in FAMILIES if is_model_in_modules(model, [one.module])), Backbone)
    return family.options(model, options)


def nearest(model: object) -> str:
    """What helps where a model of a family is held by something else, or is in another package."""
    held = {"_orig_mod": "._orig_mod", "module": ".module", "vit": ".vit", "encoder": ".encoder"}
    within = next((part for name, part in held.items() if isinstance(getattr(model, name, None), nn.Module)), None)
    if within:
        return f"; give what it holds: {within}"
    others = {"transformers": "save_pretrained its folder and give that", "torchvision": "take timm's of its size"}
    start = type(model).__module__.partition(".")[0]
    return f"; {others[start]}" if start in others else ""
