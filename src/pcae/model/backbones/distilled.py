"""DeiT with a distillation token: the second of the prefix, with a classifier of its own."""

from timm.models.deit import VisionTransformerDistilled
from torch import nn

from pcae.model.backbones.backbone import Backbone


class DistilledBackbone(Backbone):
    """timm's VisionTransformerDistilled."""

    model_type = VisionTransformerDistilled

    @property
    def prefix(self) -> list[nn.Parameter]:
        """Class and distillation token."""
        return [self.model.cls_token, self.model.dist_token]
