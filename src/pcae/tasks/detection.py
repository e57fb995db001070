"""Fine-tuning a Vision Transformer to find objects and cut them out: Mask R-CNN, or Faster R-CNN, on its encoder."""

from typing import NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from pcae.model.blocks import check_blocks
from pcae.model.encoder import Encoder
from pcae.settings.bounds import check_bounds
from pcae.settings.tasks import DetectionConfig
from pcae.tasks.classification import layer_groups
from pcae.tasks.detection_backbone import DetectionBackbone, global_blocks
from pcae.tasks.drop_path import draw_paths, install_drop_path
from pcae.tasks.freezing import freeze, keep_still
from pcae.tasks.mask_rcnn import Inputs, rcnn
from pcae.tasks.pyramid import STRIDES
from pcae.training.loop import Progress, StepResult
from pcae.training.randomness import StepRandom, seed_of


def check_detection(config: DetectionConfig, depth: int, patch_size: tuple[int, int]) -> None:
    """Raise ValueError for values that cannot be, or do not fit an encoder of `depth` blocks and that patch."""
    height, width = patch_size
    if height != width or height & (height - 1):
        raise ValueError(f"detection needs square patches whose side is a power of two, got {height} x {width}")
    if depth < len(STRIDES):
        raise ValueError(f"detection needs an encoder of at least {len(STRIDES)} blocks, got {depth}")
    check_bounds(config)
    if len(config.anchors) != len(STRIDES) + 1 or min(config.anchors) < 1:
        raise ValueError(f"anchors must be {len(STRIDES) + 1} sides in pixels, one a level, got {config.anchors}")
    check_blocks(depth, (*(config.global_blocks or ()), *config.reduce_after))
    if config.global_blocks is not None and config.window is None:
        raise ValueError(f"global_blocks {config.global_blocks} need windows in the other blocks; give window, too")
    check_reduction(config, depth)


def check_reduction(config: DetectionConfig, depth: int) -> None:
    """Raise ValueError for stages that drop nothing, or whose dropped tokens windows would miss."""
    if config.drop_ratio and not config.reduce_after:
        raise ValueError(f"drop_ratio {config.drop_ratio:g} needs blocks after which tokens are dropped: reduce_after")
    if depth - 1 in config.reduce_after:
        raise ValueError(f"reduce_after must lie in [0, {depth - 2}], got {config.reduce_after}: no block is left then")
    windowed = set() if config.window is None else set(range(depth)).difference(global_blocks(config, depth))
    last = max(windowed, default=-1)
    if config.drop_ratio and config.reduce_after and min(config.reduce_after) < last:
        raise ValueError(
            f"reduce_after {config.reduce_after} stands before block {last}, whose windows need every token; reduce "
            f"after {last} at the earliest, or leave window out"
        )


class Annotated(NamedTuple):
    """Images of any sizes, uint8 or float in [0, 1], and what is on each, in torchvision's words.

    targets: `boxes` Float[objects 4] (left, top, right, bottom in pixels), `labels` Int[objects] from 1 on and, for a
    detector with masks, `masks` UInt8[objects height width]; an image may have no objects. What else a target says is
    not looked at.
    """

    images: list[Shaped[Tensor, "channels _height _width"]]
    targets: list[dict[str, Tensor]]

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.images[0].device


class Detection(nn.Module):
    """The sum of Mask R-CNN's five losses, for an encoder that is trained with it end to end; or without `masks`, which
    finds boxes alone, Faster R-CNN's four.

    Losses are means over the boxes that torchvision samples in a micro-batch: two half batches have nearly the loss of
    the whole, not exactly. min_size, max_size: shorter side of an image whose objects are predicted, and the most that
    its longer one may have then.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: DetectionConfig,
        *,
        classes: int,
        mean: list[float],
        std: list[float],
        min_size: int = 800,
        max_size: int = 1333,
        masks: bool = True,
    ) -> None:
        super().__init__()
        self.config, self.masks = config, masks
        check_detection(config, encoder.depth, encoder.patch_size)
        self.network = rcnn(DetectionBackbone(encoder, config), config, classes, masks)
        divisor = max(encoder.patch_size[0], STRIDES[-1])  # both are powers of two
        self.network.transform = Inputs(min_size, max_size, mean, std, divisor)
        self.paths = install_drop_path(encoder.vit, config.drop_path) if config.drop_path else []
        self.frozen = freeze(encoder.vit, config.freeze)

    def train(self, mode: bool = True) -> "Detection":
        """Training mode, but for what is frozen, or evaluation mode."""
        super().train(mode)
        keep_still(self.frozen)
        return self

    @property
    def encoder(self) -> Encoder:
        """The encoder that is trained; its weights have timm's names."""
        assert isinstance(self.network.backbone, DetectionBackbone)
        return self.network.backbone.encoder

    def forward(self, batch: Annotated, random: StepRandom) -> StepResult:
        """The loss of images at the size that they have, and its parts; random in (seed, step, rows) alone."""
        draw_paths(self.paths, random.uniform("drop-path", len(self.paths)))
        seed = seed_of(random.seed, random.step, "boxes", random.rows.start, random.rows.stop)
        devices = [] if batch.device.type == "cpu" else [batch.device]
        with torch.random.fork_rng(devices, device_type=batch.device.type):
            torch.manual_seed(seed)  # torchvision samples boxes from the global generators
            losses = self.network(batch.images, batch.targets)
        loss = torch.stack(list(losses.values())).sum()
        return StepResult(loss, {name: value.detach() for name, value in losses.items()})

    @torch.no_grad()
    def predict(self, images: list[Shaped[Tensor, "channels _height _width"]]) -> list[dict[str, Tensor]]:
        """What is on images of any sizes, uint8 or float in [0, 1]: the best first, in pixels of the image as given.

        For each `boxes` Float[found 4], `labels` Int[found] from 1 on, `scores` Float[found] and, of a detector with
        masks, `masks` Bool[found height width], the pixels that belong to the object. In evaluation mode only.
        """
        assert not self.training
        return self.network(images)

    def after_step(self, progress: Progress) -> None:
        """Nothing to move."""


def detection_groups(detection: Detection, weight_decay: float, layer_decay: float) -> list[dict]:
    """Parameter groups: the ViT's by `layer_groups`, its last block one `layer_decay` below all else, which has the
    full rate; without weight decay on norms and biases."""
    vit = detection.encoder.vit
    groups = layer_groups(vit, weight_decay, layer_decay)
    highest = max(
        (group["lr_scale"] for group in groups), default=1.0
    )  # that of a last block depends on whether there is a head
    for group in groups:
        group["lr_scale"] *= layer_decay / highest
    own = {id(parameter) for parameter in vit.parameters()}
    rest = [one for one in detection.parameters() if one.requires_grad and id(one) not in own]
    return [
        *groups,
        {"params": [one for one in rest if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in rest if one.ndim <= 1], "weight_decay": 0.0},
    ]
