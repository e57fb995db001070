"""timm's families of Vision Transformers: one adapter each, and the one place that tells them apart."""

from typing import Any

import timm
from timm.models import is_model_in_modules
from torch import nn

from pcae.model.backbones.backbone import Backbone
from pcae.model.backbones.beit import BeitBackbone
from pcae.model.backbones.distilled import DistilledBackbone
from pcae.model.backbones.eva import EvaBackbone
from pcae.model.backbones.naflex import NaFlexBackbone
from pcae.model.backbones.nearest import by_name, remedy

ViT = Any
"""A model of one of the families. Blocks, norms and classifiers have the same names in all of them."""
FAMILIES: tuple[type[Backbone], ...] = (Backbone, DistilledBackbone, EvaBackbone, BeitBackbone, NaFlexBackbone)
"""All adapters; adding a family is one file and its name here."""
BLOCKS = tuple({block for family in FAMILIES for block in family.block_types})
"""The classes of blocks of all families."""


SUPPORTED = f"only timm's {', '.join(family.model_type.__name__ for family in FAMILIES)} are supported"


def backbone_of(model: nn.Module, name: str | None = None) -> Backbone:
    """The adapter of a model. name: what it was asked for by.

    Raises ValueError, with the nearest that works, for a model of another family or another patch embedding.
    """
    reason = f"{SUPPORTED}, got {type(model).__name__}"
    for family in FAMILIES:
        if type(model) is family.model_type:
            try:
                return family(model)
            except ValueError as error:
                reason = str(error)
    raise ValueError(f"model {name!r}: {reason}; {remedy(model, name)}" if name else f"{reason}; {remedy(model)}")


def check_family(model: str, name: str | None = None) -> None:
    """Raise ValueError for a name of timm's that is of no family, before it is made in sizes that are not its own.

    name: what was given, where that is more.
    """
    if not is_model_in_modules(model, [family.module for family in FAMILIES]):
        backbone_of(by_name(model), name or model)


def names_of_families() -> list[str]:
    """timm's names of the families."""
    return sorted({name for family in FAMILIES for name in timm.list_models(module=family.module)})


def options_of(model: str, options: dict[str, Any]) -> dict[str, Any]:
    """timm's arguments for a model of that name, from those of a VisionTransformer."""
    family = next((one for one in FAMILIES if is_model_in_modules(model, [one.module])), Backbone)
    return family.options(model, options)
