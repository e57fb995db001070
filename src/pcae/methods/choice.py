"""Which method, and what it is told; a setting of another method is refused."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from pcae.methods.discarding import DiscardingMAE, DiscardingMAEConfig
from pcae.methods.mae import MAE, MAEConfig
from pcae.methods.pcae import PCAE, PCAEConfig
from pcae.methods.simmim import PCAESimMIM, PCAESimMIMConfig, SimMIM, SimMIMConfig
from pcae.methods.teacher import TeacherConfig
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import Encoder
from pcae.settings import flatten

Pretraining = PCAE | MAE | DiscardingMAE | SimMIM | PCAESimMIM
"""A self-supervised method: each has a `student`, its `n_visible` tokens, `counts` of what is left to predict, in
`predicts` a word for what that is, and in `targets(patches, hidden_ids, draw)` what it predicts of images."""
MethodName = Literal["pcae", "mae", "simmim", "pcae-simmim", "mae-discard"]
Settings = TypeVar("Settings")
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
    views: int = 1
    """For pcae: students' views of an image for one pass of the teacher; each sees its own part of the pool."""
    pool_ratio: float | None = None
    """For pcae: share of the patches that views are drawn from, such as 0.25 with several views and a mask ratio of
    0.85; the teacher sees the others. Without it, one view is the pool."""
    pixel_weight: float = 0.0
    """For pcae: weight of mae's loss at the targets, beside their features; 0 is the paper."""
    norm_pix_loss: bool = True
    """For mae: predict the pixels of each patch less their mean, over their standard deviation."""
    discard: Literal["loss", "decode"] = "loss"
    """For mae-discard: discarded targets are decoded without a loss (setting 1), or not even decoded (setting 2)."""
    teacher: TeacherConfig = TeacherConfig()


def build_method(
    encoder: Encoder, config: MethodConfig, decoder: DecoderConfig, teacher: Encoder | None = None
) -> Pretraining:
    """The method around an encoder; teacher: a fixed one. Raises ValueError for settings that it does not have."""
    if config.method in WITHOUT_TEACHER and teacher is not None:
        raise ValueError(f"method {config.method} has no teacher; leave --teacher out, or use pcae or pcae-simmim")
    if config.method in WITHOUT_DECODER and decoder != DecoderConfig():
        usual = flatten(DecoderConfig())
        odd = [f"{name} {value}" for name, value in flatten(decoder).items() if value != usual[name]]
        raise ValueError(f"method {config.method} has no decoder but a linear head; leave {', '.join(odd)} out")
    match config.method:
        case "pcae":
            return PCAE(encoder, told(PCAEConfig, config), decoder, teacher)
        case "mae":
            return MAE(encoder, told(MAEConfig, config), decoder)
        case "mae-discard":
            return DiscardingMAE(encoder, told(DiscardingMAEConfig, config), decoder, teacher)
        case "simmim":
            return SimMIM(encoder, told(SimMIMConfig, config))
        case "pcae-simmim":
            return PCAESimMIM(encoder, told(PCAESimMIMConfig, config), teacher)


CONFIGS: dict[str, Any] = {
    "pcae": PCAEConfig,
    "mae": MAEConfig,
    "mae-discard": DiscardingMAEConfig,
    "simmim": SimMIMConfig,
    "pcae-simmim": PCAESimMIMConfig,
}


def spelled_out(
    config: MethodConfig, decoder: DecoderConfig, method: Pretraining
) -> tuple[MethodConfig, DecoderConfig]:
    """The settings with the values that the method took where none were given."""
    config = replace(config, mask_ratio=told(CONFIGS[config.method], config).mask_ratio)
    if not isinstance(method, MAE | SimMIM):
        config = replace(config, teacher=replace(config.teacher, keep_ratio=method.teacher.reduction.keep))
    if not isinstance(method, SimMIM | PCAESimMIM):
        decoder = replace(decoder, decoder_depth=len(method.decoder.blocks))
    return config, decoder


def foreign_settings(method: str) -> set[str]:
    """Names of the settings that a method does not have, the decoder's among them where it has none; a method that is
    not known has all."""
    if method not in CONFIGS:
        return set()
    own = {field.name for field in fields(CONFIGS[method])} | {"method"}
    decoder = {field.name for field in fields(DecoderConfig)} if method in WITHOUT_DECODER else set()
    return (flatten(MethodConfig()).keys() - own) | decoder


def told(cls: type[Settings], config: MethodConfig) -> Settings:
    """The settings of one method. Raises ValueError for one that was set and is another method's."""
    values, usual, foreign = flatten(config), flatten(MethodConfig()), foreign_settings(config.method)
    for name in sorted(foreign & values.keys()):
        if values[name] != usual[name]:
            raise ValueError(f"{name} {values[name]} is no setting of method {config.method}; leave it out")
    del values["method"]
    return cls(**{name: value for name, value in values.items() if name not in foreign and value is not None})
