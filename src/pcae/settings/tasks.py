"""What a fine-tuned network does: classify or detect."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from pcae.settings.bounds import Natural, NotNegative, Portion, Share
from pcae.settings.choices import CriterionName, FoldName, Frozen, PyramidName, Ramp


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """The task. The defaults are MAE's for ViT-B, which the paper follows."""

    drop_ratio: float | str = 0.0
    """Share of the patch tokens that each of three stages drops, in [0, 1); A:B draws a ratio of that range every
    step, so that one checkpoint serves all of them."""
    criterion: CriterionName = "mean-similarity"
    """Which tokens go: those most like the mean (the method), or those of another rule; bipartite is ToMe's."""
    fold: FoldName = "append"
    """What becomes of them. append: their mean stays in the sequence (the paper). pool: these means are pooled, too,
    each for as many as it stands for. merge: each goes into the nearest token that stays (ToMe). leave: nothing."""
    reduce_after: tuple[Natural, ...] | None = None
    """Blocks, from 0, after which tokens are dropped; without it 0, 7 and 10 of 12."""
    before_mlp: bool = False
    """Drop tokens between attention and MLP of these blocks, not after them: the MLP then has fewer."""
    drop_start_epochs: NotNegative | None = None
    """Epochs in which nothing is dropped; without it, a tenth of the run (the paper: 10 of 100)."""
    drop_ramp_epochs: NotNegative | None = None
    """Epochs over which the drop ratio then climbs; without it, a quarter of the run (the paper: 25 of 100)."""
    drop_ramp: Ramp = "cosine"
    """How it climbs: cosine, as in EViT, or linear; in steps of 0.05."""
    global_pool: Literal["avg", "token"] = "avg"
    """What is classified: the mean of the patch tokens with a norm of its own, or the class token."""
    pool_dropped: bool = False
    """Another word for --fold pool, which needs --global-pool avg. Ours: the paper pools what is left."""
    layer_decay: Portion | None = None
    """Factor on the learning rate from each block to the one before it; without it 0.65, and 1 from scratch."""
    drop_path: Share = 0.1
    """Probability that the last block's branches are left out; it climbs from 0 with the depth."""
    mixup: NotNegative = 0.8
    """Parameter of the beta distribution that two images are blended by; 0 for none."""
    cutmix: NotNegative = 1.0
    """The same for a rectangle of one image in the other; where both are on, each has half of the steps."""
    freeze: Frozen | None = None
    """What is not trained, has no drop path and keeps nothing for the gradient. encoder: all but the linear classifier.
    N: the first N blocks and all before them; the other blocks, the last norm and the classifier are trained."""
    label_smoothing: Share = 0.1
    """Share of the target that is spread over all classes, in [0, 1)."""
    ema: Share | None = None
    """Momentum of a moving average of the weights, which is then evaluated and kept, such as 0.9999; early steps have
    (1 + step) / (10 + step) at most, so that the start is forgotten."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """The task. The defaults are Mask R-CNN's with FPN; where the paper is silent, those usual for ViT-B."""

    pyramid: PyramidName = "fpn"
    """fpn: maps of four blocks, a quarter of the depth apart, through an FPN; simple: all of the last, as in ViTDet."""
    pyramid_channels: Annotated[int, Interval(ge=1, le=65_536)] = 256
    """Channels of the pyramid's maps."""
    window: Annotated[int, Interval(ge=1, le=65_536)] | None = None
    """Side in patches of the windows in which blocks attend; without it, all attend to the whole image."""
    global_blocks: tuple[int, ...] | None = None
    """Blocks, counted from 0, that attend to the whole image all the same; without it, the last of each quarter."""
    drop_ratio: Share = 0.0
    """Share of the patch tokens that each stage of `reduce_after` drops, in [0, 1)."""
    reduce_after: tuple[int, ...] = ()
    """Blocks, counted from 0, after which tokens are dropped; none may stand before a block with windows."""
    head_width: Annotated[int, Interval(ge=1, le=65_536)] = 1024
    """Width of the box head's two layers."""
    mask_channels: Annotated[int, Interval(ge=1, le=65_536)] = 256
    """Channels of the mask head's convolutions."""
    mask_convs: Annotated[int, Interval(ge=0, le=100)] = 4
    """Number of convolutions in the mask head before it doubles its side."""
    anchors: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Side in pixels of the anchor boxes, by level (strides 4, 8, 16, 32, 64); each in three shapes."""
    sampled_proposals: Annotated[int, Interval(ge=1, le=65_536)] = 512
    """Proposals of an image that the box head is trained on."""
    layer_decay: Portion | None = None
    """Factor on the learning rate from each block to the one before it; without it 0.7, and 1 from scratch."""
    drop_path: Share = 0.1
    """Probability that the last block's branches are left out; it climbs from 0 with the depth."""
    freeze: Frozen | None = None
    """What is not trained, has no drop path and keeps nothing for the gradient. encoder: all of it, so that pyramid and
    heads alone are trained. N: its first N blocks and all before them."""
    score_threshold: Share = 0.05
    """Predictions with a lower score are left out, in [0, 1)."""
    detections_per_image: Annotated[int, Interval(ge=1, le=65_536)] = 100
    """Most predictions that an image gets, the best ones."""
