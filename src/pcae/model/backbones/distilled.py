"""DeiT with a distillation token: the second of the prefix, with a classifier of its own."""

from typing import Any

from timm.models.deit import VisionTransformerDistilled
from torch import nn

from pcae.model.backbones.backbone import Backbone


class DistilledBackbone(Backbone):
    """timm's VisionTransformerDistilled."""

    model_type = VisionTransformerDistilled
    module = "deit"

    @classmethod
    def options(cls, model: str, options: dict[str, Any]) -> dict[str, Any]:
        """timm's arguments; the two tokens are pooled also where a VisionTransformer would not pool.

        Raises ValueError for another pooling.
        """
        pooling = options.get("global_pool")
        if "distilled" in model and pooling not in {None, "", "token"}:
            raise ValueError(f"model {model!r} pools its two tokens, not by {pooling!r}; use --global-pool token")
        return {name: value for name, value in options.items() if (name, value) != ("global_pool", "")}

    @property
    def prefix(self) -> list[nn.Parameter]:
        """Class and distillation token."""
        return [self.model.cls_token, self.model.dist_token]
