"""Objects drawn on the picture that they were found in: boxes, labels and masks."""

from collections.abc import Sequence

import matplotlib
import torch
from jaxtyping import UInt8
from matplotlib.font_manager import findfont
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from pcae.data.crops import to_picture
from pcae.evaluation.coco_metrics import Detections

SHADE = 0.45
"""How much of a pixel inside a mask is the colour of its label."""


def draw_objects(
    pixels: UInt8[Tensor, "channels height width"], found: Detections, classes: Sequence[str]
) -> Image.Image:
    """The picture with the box, the label with its score, and the mask of every object, a colour a label."""
    picture = pil_to_tensor(to_picture(pixels).convert("RGB"))
    if not len(found.labels):
        return to_pil_image(picture)
    colours: list[str | tuple[int, int, int]] = [colour_of(label) for label in found.labels.tolist()]
    if isinstance(found.masks, Tensor):
        picture = draw_segmentation_masks(picture, found.masks.bool(), alpha=SHADE, colors=colours)
    shorter = min(picture.shape[1:])
    named = zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    drawn = draw_bounding_boxes(
        picture,
        visible(found.boxes, picture.shape[2], picture.shape[1]),
        [f"{classes[label - 1]} {score:.2f}" for label, score in named],
        colors=colours,
        width=max(1, shorter // 200),
        font=findfont("DejaVu Sans"),
        font_size=max(10, shorter // 30),
        label_colors="white",
        label_background_colors=colours,
        fill_labels=True,
    )
    return to_pil_image(drawn)


def colour_of(label: int) -> tuple[int, int, int]:
    """A colour for a label, dark enough for white letters."""
    red, green, blue, _ = matplotlib.colormaps["tab10"]((label - 1) % 10)
    return round(200 * red), round(200 * green), round(200 * blue)


def visible(boxes: Tensor, width: int, height: int) -> Tensor:
    """Boxes of whole pixels inside the picture, none empty."""
    edges = torch.tensor([width - 1, height - 1])
    start = boxes[:, :2].floor().clamp(min=0).minimum(edges)
    return torch.cat([start, boxes[:, 2:].ceil().minimum(edges).maximum(start)], 1)
