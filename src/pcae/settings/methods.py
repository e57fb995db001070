"""The methods of pre-training and their settings."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Interval

from pcae.settings.bounds import Count, NotNegative
from pcae.settings.choices import CriterionName
from pcae.settings.network import DecoderConfig
from pcae.settings.values import flatten


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The teacher and its targets. The defaults are the paper's, but for the momentum."""

    stages: int = 3
    """Times that the teacher drops tokens; 0 is a full teacher."""
    placement: int = 1
    """Where the stages stand, by Table 8's number: 1 evenly from the first block (after 0, 4, 8 of 12), 2 evenly to the
    last, 3 from first to last, 4 the first blocks, 5 the last."""
    stages_after: tuple[int, ...] | None = None
    """Blocks, from 0, after which the teacher drops tokens, instead of `stages` and `placement`."""
    keep_ratio: float | None = None
    """Share of the tokens that each of the teacher's stages keeps, in (0, 1]; without it 0.5, for pcae-simmim 0.54."""
    criterion: CriterionName = "mean-similarity"
    """What is dropped: tokens most like the mean (the method), random ones, those that get least attention from the
    others or (saliency) from the class token, those that others explain best by a matrix decomposition (slow)."""
    random_targets: int | None = None
    """Predict only so many targets, drawn at random from those that the teacher keeps; without it, all of them."""
    target_norm: Literal["token", "none"] = "token"
    """token: standardise each target over its features. none: the letter of Eq. 1."""
    target_layers: int = 1
    """Last blocks of the teacher whose outputs, each standardised, are averaged into the target; 1 is the paper."""
    momentum: float | None = None
    """Momentum of the teacher; without it, 1 - 4 / steps, tied to the length of the run (the paper: 0.9999)."""
    momentum_end: float | None = None
    """Momentum at the end of a half cosine; without it, the momentum stays fixed."""


@dataclass(frozen=True, kw_only=True)
class MAEConfig:
    """The method. The defaults are MAE's best."""

    mask_ratio: float = 0.75
    """Share of the patches that the student does not see, in (0, 1)."""
    norm_pix_loss: bool = True
    """Predict the pixels of each patch less their mean, over their standard deviation."""


@dataclass(frozen=True, kw_only=True)
class PCAEConfig(TeacherConfig):
    """The method. The defaults are the paper's, but for the momentum."""

    mask_ratio: float = 0.75
    """Share of the patches that the student does not see, in (0, 1)."""
    views: Count = 1
    """Students' views of an image for one pass of the teacher; each sees its own part of the pool. 1 is the paper."""
    pool_ratio: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """Share of the patches that views are drawn from; the teacher sees the others. Without it, one view is the pool."""
    pixel_weight: NotNegative = 0.0
    """Weight of MAE's loss, normalised pixels, at the targets, beside their features; 0 is the paper."""
    class_target: bool = False
    """With a fixed teacher: predict its class token, too, from the student's. The teacher then runs with its prefix."""


@dataclass(frozen=True, kw_only=True)
class SimMIMConfig:
    """The method. The paper's: 78 visible and 118 mask tokens."""

    mask_ratio: float = 0.6
    """Share of the patches that the student does not see, in (0, 1)."""


@dataclass(frozen=True, kw_only=True)
class PCAESimMIMConfig(SimMIMConfig, TeacherConfig):
    """PCAE on SimMIM. The paper's: 78 visible and 18 mask tokens."""


@dataclass(frozen=True, kw_only=True)
class DiscardingMAEConfig(MAEConfig, TeacherConfig):
    """The method."""

    discard: Literal["loss", "decode"] = "loss"
    """loss: all hidden patches are decoded, discarded ones have no loss (setting 1). decode: they have no mask token
    either (setting 2)."""


MethodName = Literal["pcae", "mae", "simmim", "pcae-simmim", "mae-discard"]
WITHOUT_TEACHER = ("mae", "simmim")
WITHOUT_DECODER = ("simmim", "pcae-simmim")
"""Methods that have a linear head instead."""


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The method and its settings."""

    method: MethodName = "pcae"
    """pcae: predict the features that the teacher keeps. mae: predict pixels. simmim: mask tokens in the encoder.
    pcae-simmim: both ideas. mae-discard: mae without the targets that the teacher drops (Table 9)."""
    mask_ratio: float | None = None
    """Share of the patches that the student does not see, in (0, 1); without it 0.75, with simmim 0.6."""
    views: Count = 1
    """For pcae: students' views of an image for one pass of the teacher; each sees its own part of the pool."""
    pool_ratio: Annotated[float, Interval(gt=0, lt=1)] | None = None
    """For pcae: share of the patches that views are drawn from, such as 0.25 with several views and a mask ratio of
    0.85; the teacher sees the others. Without it, one view is the pool."""
    pixel_weight: NotNegative = 0.0
    """For pcae: weight of mae's loss at the targets, beside their features; 0 is the paper."""
    class_target: bool = False
    """For pcae with a fixed teacher: predict its class token, too, from the student's."""
    norm_pix_loss: bool = True
    """For mae: predict the pixels of each patch less their mean, over their standard deviation."""
    discard: Literal["loss", "decode"] = "loss"
    """For mae-discard: discarded targets are decoded without a loss (setting 1), or not even decoded (setting 2)."""
    teacher: TeacherConfig = TeacherConfig()


CONFIGS: dict[str, Any] = {
    "pcae": PCAEConfig,
    "mae": MAEConfig,
    "mae-discard": DiscardingMAEConfig,
    "simmim": SimMIMConfig,
    "pcae-simmim": PCAESimMIMConfig,
}


def inapplicable_settings(method: str) -> set[str]:
    """Names of the settings that a method does not have, the decoder's among them where it has none; a method that is
    not known has all."""
    if method not in CONFIGS:
        return set()
    own = {field.name for field in fields(CONFIGS[method])} | {"method"}
    decoder = {field.name for field in fields(DecoderConfig)} if method in WITHOUT_DECODER else set()
    return (flatten(MethodConfig()).keys() - own) | decoder
