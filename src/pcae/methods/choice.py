"""Which method, and what it is told; a setting of another method is refused."""

from dataclasses import dataclass, fields
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
"""A self-supervised method: each has a `student`, its `n_visible` tokens, and `counts` of what is left to predict."""
MethodName = Literal["pcae", "mae", "simmim", "pcae-simmim", "mae-discard"]
Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The method and its settings."""

    method: MethodName = "pcae"
    """pcae: predict the features that the teacher keeps. mae: predict pixels. simmim: mask tokens in the encoder.
    pcae-simmim: both ideas. mae-discard: mae without the targets that the teacher drops (Table 9)."""
    mask_ratio: float | None = None
    """Share of the patches that the student does not see, in (0, 1); without it 0.75, with simmim 0.6."""
    norm_pix_loss: bool = True
    """For mae: predict the pixels of each patch less their mean, over their standard deviation."""
    discard: Literal["loss", "decode"] = "loss"
    """For mae-discard: discarded targets are decoded without a loss (setting 1), or not even decoded (setting 2)."""
    teacher: TeacherConfig = TeacherConfig()


def build_method(
    encoder: Encoder, config: MethodConfig, decoder: DecoderConfig, teacher: Encoder | None = None
) -> Pretraining:
    """The method around an encoder; teacher: a fixed one. Raises ValueError for settings that it does not have."""
    if config.method in ("mae", "simmim") and teacher is not None:
        raise ValueError(f"method {config.method} has no teacher; leave --teacher out, or use pcae or pcae-simmim")
    if config.method in ("simmim", "pcae-simmim") and decoder != DecoderConfig():
        raise ValueError(f"method {config.method} has no decoder but a linear head; leave the decoder's settings out")
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


def told(cls: type[Settings], config: MethodConfig) -> Settings:
    """The settings of one method. Raises ValueError for one that was set and is another method's."""
    names = {field.name for field in fields(cls)}  # pyright: ignore[reportArgumentType]
    values: dict[str, Any] = flatten(config)
    usual = flatten(MethodConfig())
    for name in values.keys() - names - {"method"}:
        if values[name] != usual[name]:
            raise ValueError(f"{name} {values[name]} is no setting of method {config.method}; leave it out")
    return cls(**{name: value for name, value in values.items() if name in names and value is not None})
