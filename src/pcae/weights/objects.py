"""Models that the caller holds, as weights: what is known of them, and their tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer
from timm.utils.model import unwrap_model
from torch import Tensor, nn

from pcae.methods.masked import Masked
from pcae.model.architecture import with_options
from pcae.model.backbones import ViT
from pcae.model.backbones.eva import EvaBackbone
from pcae.model.criteria import name_of
from pcae.model.encoder import Encoder, plain_vit
from pcae.model.pretrained import Classifier, Pretrained, PretrainedFacts, build_model
from pcae.model.reduced import ReducedViT
from pcae.model.reduction import Reduction
from pcae.settings.network import EncoderConfig
from pcae.settings.trained import Rule
from pcae.weights.loaded import Loaded, class_names
from pcae.weights.reading import reason_of
from pcae.weights.structure import HIDDEN, half_as_wide, mlp_ratio, options_of, read_off
from pcae.weights.timm_models import first_unlike, norm_options, settings, sizes_of

UNUSUAL = "the model computes otherwise than timm's of any name and sizes"
"""Why a model cannot be built again."""
ITSELF = "pcae.reduce and pcae.PCAE take the model itself"
"""What helps there."""
SCALES = {"blocks.0.gamma_1", "blocks.0.ls1.gamma"}
"""What families call a layer scale."""


def find_object(model: Any, words: str) -> Loaded:
    """The tensors of a model and what is known of it: Pretrained, Encoder, ReducedViT or timm's VisionTransformer.

    Tensors are the model's own, which whoever fills a model with them copies. Raises ValueError for other objects, by
    name, and for a model that no name and sizes of timm's describe.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"weights are a path, timm:NAME or a model, got {words}: {model!r:.60}")
    model = unwrap_model(model)  # of DistributedDataParallel, torch.compile and timm's moving averages
    if isinstance(model, Pretrained):
        return Loaded(tensors=tensors_of(model.encoder.vit), facts=model.facts, source=words, decoder=model.decoder)
    if isinstance(model, Classifier):
        raise ValueError(f"weights are the model that was loaded, {words} is made of one: give what pcae.load returned")
    if isinstance(model, Masked):
        raise ValueError(f"weights are an encoder, {words} is a method of pre-training; give its .student")
    vit = model.vit if isinstance(model, Encoder | ReducedViT) else plain_vit(model)
    facts = described(vit, facts_of(vit))
    if isinstance(model, Encoder):
        facts = replace(facts, crop_pct=1.0)  # whole images, as our own runs have it
    if isinstance(model, ReducedViT):
        facts = replace(facts, rule=rule_of(model), drop_ratios=drop_ratios_of(model))
    granted = f"taken for granted: mean {facts.mean} and std {facts.std}, as timm has them for it"
    return Loaded(tensors=tensors_of(vit), facts=facts, source=words, remarks=(granted,))


def tensors_of(vit: ViT) -> dict[str, Tensor]:
    """A model's tensors by timm's names, on the CPU."""
    return {name: value.detach().cpu() for name, value in vit.state_dict().items()}


def facts_of(vit: ViT) -> PretrainedFacts:
    """What timm says of a model's data and classes; the network is still to be found."""
    said, channels = config_of(vit), Encoder(vit).channels
    names = said.get("label_names") or ()
    named = {str(index): name for index, name in enumerate(names)} if len(names) == vit.num_classes else {}
    return PretrainedFacts(
        encoder=EncoderConfig(),
        mean=for_channels(said.get("mean") or IMAGENET_DEFAULT_MEAN, channels),
        std=for_channels(said.get("std") or IMAGENET_DEFAULT_STD, channels),
        classes=class_names(vit.state_dict(), named),
        global_pool=vit.global_pool,
        crop_pct=said.get("crop_pct") or 1.0,
    )


def config_of(vit: ViT) -> dict[str, Any]:
    """timm's description of a model; empty for one that was made without `timm.create_model`."""
    return dict(getattr(vit, "pretrained_cfg", None) or {})


def for_channels(values: Sequence[float], channels: int) -> list[float]:
    """A value for each channel; their mean where they are of another number of channels."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels


def described(vit: ViT, facts: PretrainedFacts) -> PretrainedFacts:
    """The facts with the first network that computes what this one does. Raises ValueError where there is none."""
    encoder, why, eps = Encoder(vit), "it was not made by timm.create_model", norm_eps_of(vit)
    height, width = encoder.patch_size
    if height != width:
        raise ValueError(f"only square patches are supported, the model has {height} x {width}; {ITSELF}")
    for config in candidates(encoder):
        for norm_eps in (None, eps):
            found = replace(facts, encoder=config, norm_eps=norm_eps)
            unlike = difference(vit, found)
            if unlike is None:
                return found
            why = unlike
    raise ValueError(f"{UNUSUAL}: {why}; {ITSELF}")


def candidates(encoder: Encoder) -> Iterator[EncoderConfig]:
    """Networks that a model may be: by timm's name for it, the same with options, and as its tensors have it."""
    name, sizes = config_of(encoder.vit).get("architecture"), sizes_of(encoder)
    named = []
    if name is not None and timm.is_model(name):
        named = [EncoderConfig(model=name, image_size=encoder.image_size, channels=encoder.channels, **sizes)]
    yield from named
    if encoder.backbone.model_type is not VisionTransformer:
        yield from (replace(config, model=with_options(config.model, own_options(encoder))) for config in named)
        return
    tensors = dict(encoder.vit.state_dict())
    if {"pos_embed", HIDDEN} <= tensors.keys():
        options = options_of(tensors, encoder.grid, "the model") | norm_options(encoder.vit)
        yield from (replace(config, model=with_options(config.model, options)) for config in named)
        yield read_off(tensors, encoder.image_size, options, sizes.get("heads"))


def own_options(encoder: Encoder) -> dict[str, Any]:
    """Options of a model of another family than the first, as far as its tensors tell them."""
    tensors = dict(encoder.vit.state_dict())
    plain = HIDDEN in tensors and not half_as_wide(tensors)
    ratio = {"mlp_ratio": mlp_ratio(tensors)} if plain else {}
    scales = {"init_values": 1e-5} if SCALES & tensors.keys() else {}
    return prefix_options(encoder) | ratio | scales


def prefix_options(encoder: Encoder) -> dict[str, Any]:
    """Options for the prefix of a model that takes any; what its family calls them, the family knows."""
    if not isinstance(encoder.backbone, EvaBackbone):
        return {}
    registers = sum(part.shape[1] for part in encoder.backbone.prefix) - encoder.has_class_token
    return {"class_token": encoder.has_class_token, "reg_tokens": registers}


def norm_eps_of(vit: ViT) -> float | None:
    """Epsilon of the norms, where it is the same for all."""
    found = {part.eps for part in vit.modules() if isinstance(part, nn.LayerNorm)}
    return found.pop() if len(found) == 1 else None


def difference(vit: ViT, facts: PretrainedFacts) -> str | None:
    """What a model has that the network of these facts does not have, or the other way round; None where they agree."""
    try:
        with torch.device("meta"):
            twin = build_model(facts).encoder.vit
    except (ValueError, RuntimeError) as error:
        return reason_of(error)
    unlike = first_unlike(shapes(vit) | settings(vit), shapes(twin) | settings(twin))
    return unlike and f"{unlike[0]}, where timm's has {unlike[1]}"


def shapes(vit: ViT) -> dict[str, str]:
    """Shapes of a model's tensors, by timm's names."""
    return {name: " x ".join(map(str, value.shape)) for name, value in vit.state_dict().items()}


def drop_ratios_of(model: ReducedViT) -> tuple[float, float]:
    """The drop ratio of a reduced model, as the least and the most. Raises ValueError for one for each stage."""
    ratio = round(1 - model.reduction.share, 9)
    return ratio, ratio


def rule_of(model: ReducedViT) -> Rule:
    """How a reduced model drops tokens."""
    reduction, usual = model.reduction, Reduction.for_finetuning(len(model.vit.blocks), drop_ratio=0.0).after
    after = None if reduction.after == usual else reduction.after
    criterion = name_of(reduction.criterion)
    return Rule(criterion=criterion, fold=reduction.fold, after=after, before_mlp=reduction.before_mlp)
