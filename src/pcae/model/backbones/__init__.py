"""timm's families of Vision Transformers: one adapter each, and the one place that tells them apart."""

import sys
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


def backbone_of(model: nn.Module) -> Backbone:
    """The adapter of a model. Raises ValueError, by name, for a model of another family or another patch embedding."""
    for family in FAMILIES:
        if type(model) is family.model_type:
            return family(model)
    known = ", ".join(family.model_type.__name__ for family in FAMILIES)
    raise ValueError(f"only timm's {known} are supported, got {type(model).__name__}{nearest(type(model).__module__)}")


def options_of(model: str, options: dict[str, Any]) -> dict[str, Any]:
    """timm's arguments for a model of that name, from those of a VisionTransformer."""
    family = next((one for one in FAMILIES if is_model_in_modules(model, [one.module])), Backbone)
    return family.options(model, options)


def nearest(module: str) -> str:
    """A hint for models of transformers and of torchvision, which hold Vision Transformers under other names."""
    others = {"transformers": "save_pretrained its folder and give that", "torchvision": "take timm's of its size"}
    start = module.partition(".")[0]
    return f"; {others[start]}" if start in others and start in sys.modules else ""
