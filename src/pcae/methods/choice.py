"""Which method, and what it is told; a setting of another method is refused."""

from dataclasses import replace
from typing import TypeVar

from pcae.methods.discarding import DiscardingMAE
from pcae.methods.mae import MAE
from pcae.methods.pcae import PCAE
from pcae.methods.simmim import PCAESimMIM, SimMIM
from pcae.model.encoder import Encoder
from pcae.settings.methods import (
    CONFIGS,
    WITHOUT_DECODER,
    WITHOUT_TEACHER,
    DiscardingMAEConfig,
    MAEConfig,
    MethodConfig,
    PCAEConfig,
    PCAESimMIMConfig,
    SimMIMConfig,
    inapplicable_settings,
)
from pcae.settings.network import DecoderConfig
from pcae.settings.values import flatten

Pretraining = PCAE | MAE | DiscardingMAE | SimMIM | PCAESimMIM
"""A self-supervised method: each has a `student`, its `n_visible` tokens, `counts` of what is left to predict, in
`predicts` a word for what that is, and in `targets(patches, hidden_ids, random)` what it predicts of images."""
Settings = TypeVar("Settings")


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


def spelled_out(
    config: MethodConfig, decoder: DecoderConfig, method: Pretraining
) -> tuple[MethodConfig, DecoderConfig]:
    """The settings with the values that the method took where none were given."""
    config = replace(config, mask_ratio=told(CONFIGS[config.method], config).mask_ratio)
    if not isinstance(method, MAE | SimMIM):
        config = replace(config, teacher=replace(config.teacher, keep_ratio=method.teacher.reduction.share))
    if not isinstance(method, SimMIM | PCAESimMIM):
        decoder = replace(decoder, decoder_depth=len(method.decoder.blocks))
    return config, decoder


def told(cls: type[Settings], config: MethodConfig) -> Settings:
    """The settings of one method. Raises ValueError for one that was set and is another method's."""
    values, usual, foreign = flatten(config), flatten(MethodConfig()), inapplicable_settings(config.method)
    for name in sorted(foreign & values.keys()):
        if values[name] != usual[name]:
            raise ValueError(f"{name} {values[name]} is no setting of method {config.method}; leave it out")
    del values["method"]
    return cls(**{name: value for name, value in values.items() if name not in foreign and value is not None})
