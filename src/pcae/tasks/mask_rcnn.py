"""torchvision's Mask R-CNN, or its part for boxes alone, around a backbone of ours, at sizes that are told."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from pcae.model.tokens import upcast
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.detection_backbone import DetectionBackbone
from pcae.tasks.pyramid import STRIDES

BOX_SIDE, MASK_SIDE = 7, 14
"""Positions across what is cut out of a map for a box, and for a mask."""
INSIDE = 0.5
"""Probability from which on a pixel belongs to an object."""


class Inputs(GeneralizedRCNNTransform):
    """Normalises images, pads them to one size, and resizes those to be predicted; in training the data has done it.

    The shorter side becomes `min_size` pixels, or less, so that the longer one has at most `max_size`. Pixels are
    uint8, or float in [0, 1]. Raises ValueError for sizes that cannot be.
    """

    def __init__(self, min_size: int, max_size: int, mean: list[float], std: list[float], size_divisible: int) -> None:
        if not 1 <= min_size <= max_size:
            raise ValueError(f"the shorter side must be at least 1 and at most the longer, got {min_size}, {max_size}")
        super().__init__(min_size, max_size, mean, std, size_divisible)
        self.shorter, self.longer = min_size, max_size

    def normalize(self, image: Shaped[Tensor, "channels height width"]) -> Float[Tensor, "channels height width"]:
        """Mean 0 and standard deviation 1 by channel."""
        return super().normalize(image if image.is_floating_point() else image.float() / 255)

    def resize(
        self, image: Float[Tensor, "channels height width"], target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """The image at the size at which it is looked at; with antialias, which torchvision's own lacks."""
        if self.training:
            return image, target
        height, width = image.shape[-2:]
        factor = min(self.shorter / min(height, width), self.longer / max(height, width))
        size = max(1, round(height * factor)), max(1, round(width * factor))
        return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0], target

    def postprocess(
        self, result: list[dict[str, Tensor]], image_shapes: Any, original_image_sizes: Any
    ) -> list[dict[str, Tensor]]:
        """What was found, in pixels of the images as they were given; masks are bits, where torchvision has floats."""
        if self.training:
            return result
        small = [one.pop("masks", None) for one in result]
        result = super().postprocess(result, image_shapes, original_image_sizes)
        sized = zip(result, small, original_image_sizes, strict=True)
        return [
            one if masks is None else one | {"masks": pasted(masks, one["boxes"], size)} for one, masks, size in sized
        ]


def pasted(
    masks: Float[Tensor, "objects 1 side side"], boxes: Float[Tensor, "objects 4"], size: tuple[int, int]
) -> Bool[Tensor, "objects height width"]:
    """Which pixels of an image of this height and width belong to each object.

    They are pasted one by one: as floats together, a hundred in a large photograph would take gigabytes.
    """
    found = torch.zeros(len(masks), *size, dtype=torch.bool, device=masks.device)
    for place in range(len(masks)):
        one = slice(place, place + 1)
        found[one] = paste_masks_in_image(masks[one], boxes[one], size)[:, 0] > INSIDE
    return found


def rcnn(backbone: DetectionBackbone, config: DetectionConfig, classes: int, masks: bool) -> FasterRCNN:
    """torchvision's Mask R-CNN, or without `masks` its Faster R-CNN, for labels 1 to `classes`; boxes stay in float32
    under autocast.
    """
    channels, width = backbone.out_channels, config.head_width
    kind, more = (MaskRCNN, mask_parts(channels, config, classes)) if masks else (FasterRCNN, {})
    network = kind(
        backbone,
        rpn_anchor_generator=AnchorGenerator(
            sizes=tuple((side,) for side in config.anchors), aspect_ratios=((0.5, 1.0, 2.0),) * len(config.anchors)
        ),
        box_roi_pool=pooling(BOX_SIDE),
        box_head=TwoMLPHead(channels * BOX_SIDE**2, width),
        box_predictor=FastRCNNPredictor(width, classes + 1),
        box_batch_size_per_image=config.sampled_proposals,
        box_score_thresh=config.score_threshold,
        box_detections_per_img=config.detections_per_image,
        **more,
    )
    # torchvision makes boxes in the type of these outputs; bfloat16 would round them to 4 pixels at 1000
    for name in ("rpn.head", "roi_heads.box_predictor", *["roi_heads.mask_predictor"] * masks):
        network.get_submodule(name).register_forward_hook(upcast_outputs)
    return network


def mask_parts(channels: int, config: DetectionConfig, classes: int) -> dict[str, Any]:
    """What Mask R-CNN has beside Faster R-CNN."""
    width, convs = config.mask_channels, config.mask_convs
    return {
        "mask_roi_pool": pooling(MASK_SIDE),
        "mask_head": MaskRCNNHeads(channels, [width] * convs, 1),
        "mask_predictor": MaskRCNNPredictor(width if convs else channels, width, classes + 1),
    }


def pooling(side: int) -> MultiScaleRoIAlign:
    """RoIAlign over the four maps. Their scales are set: torchvision would infer them from the first batch, by its size
    before padding, and be wrong for images of which padding is a large part."""
    pool = MultiScaleRoIAlign([str(level) for level in range(len(STRIDES))], output_size=side, sampling_ratio=2)
    pool.scales = [1 / stride for stride in STRIDES]
    pool.map_levels = initLevelMapper(int(math.log2(STRIDES[0])), int(math.log2(STRIDES[-1])))
    return pool


def upcast_outputs(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """A forward hook: outputs in float32 at least, whatever autocast made of them."""
    return tree_map(upcast, outputs)
