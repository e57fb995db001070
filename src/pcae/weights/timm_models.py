"""timm's own pretrained models, by name: timm:NAME, timm:hf-hub:NAME, timm:local-dir:FOLDER."""

from dataclasses import replace
from typing import Any

import timm
import torch
from timm.layers.attention import Attention
from timm.layers.drop import DropPath
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from pcae.model.encoder import Encoder, check_known, plain_vit
from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.settings.network import EncoderConfig
from pcae.weights.loaded import Loaded
from pcae.weights.reading import data_only

START = "timm:"
"""What weights that timm knows begin with."""


def find_timm(name: str) -> Loaded:
    """The pretrained model of that name, downloaded where it must be. Raises ValueError with the remedy."""
    if ":" not in name:
        check_known(name)  # name and family, before a download
        with torch.device("meta"):
            plain_vit(timm.create_model(name.partition(".")[0]))
    vit = plain_vit(open_pretrained(name))
    facts = describe(vit, name)
    check_same(vit, facts, name)
    return Loaded(tensors=dict(vit.state_dict()), facts=facts, source=START + name)


def open_pretrained(name: str) -> nn.Module:
    """timm's model with its weights; a pickle among them that is more than data is not run."""
    try:
        with data_only():
            return timm.create_model(name, pretrained=True)
    except Exception as error:  # timm and the hub's client raise errors of every kind
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"weights {START + name} cannot be had: {reason}; check name and connection, or give a file that was "
            "downloaded elsewhere"
        ) from error


def describe(vit: VisionTransformer, name: str) -> PretrainedFacts:
    """What timm says of the model. The architecture's name is one that timm builds without a download."""
    said: dict[str, Any] = vit.pretrained_cfg  # pyright: ignore[reportAssignmentType]
    encoder = Encoder(vit)
    config = EncoderConfig(
        model=name,
        image_size=(encoder.grid[0] * encoder.patch_size[0], encoder.grid[1] * encoder.patch_size[1]),
        channels=encoder.embedding.proj.in_channels,
    )
    if ":" in name:
        config = replace(config, model=said["architecture"], **sizes_of(encoder))
    return PretrainedFacts(
        encoder=config,
        mean=list(said["mean"]),
        std=list(said["std"]),
        classes=classes_of(vit.num_classes, said.get("label_names")),
        global_pool=vit.global_pool,
        crop_pct=said["crop_pct"],
    )


def sizes_of(encoder: Encoder) -> dict[str, int]:
    """Sizes that a folder or repository may have given to an architecture of timm's."""
    sizes = {"patch_size": encoder.patch_size[0], "width": encoder.width, "depth": encoder.depth}
    block = encoder.vit.blocks[0]
    if isinstance(block, Block) and isinstance(block.attn, Attention):
        sizes["heads"] = block.attn.num_heads
    return sizes


def classes_of(number: int, names: Any) -> list[str] | None:
    """Names of the classes; numbers where timm names none."""
    if not number:
        return None
    return [str(name) for name in names] if names and len(names) == number else [str(index) for index in range(number)]


def check_same(vit: VisionTransformer, facts: PretrainedFacts, name: str) -> None:
    """Raise ValueError when name and sizes do not make this model: its author gave it other settings beside them."""
    with torch.device("meta"):
        twin = build_model(facts).encoder.vit
    for ours, theirs in zip(settings(vit), settings(twin), strict=False):
        if ours != theirs:
            raise ValueError(f"weights {START + name} have {ours}, where timm's {facts.encoder.model} has {theirs}")


def settings(vit: VisionTransformer) -> list[str]:
    """What a model computes, layer by layer, in words; drop-out does not count."""
    idle = (nn.Dropout, DropPath, nn.Identity)
    layers = [
        f"{name} {part}" for name, part in vit.named_modules() if not [*part.children()] and not isinstance(part, idle)
    ]
    positions = None if vit.pos_embed is None else tuple(vit.pos_embed.shape)
    return [f"positions {positions}", f"pool_include_prefix {vit.pool_include_prefix}", *layers]
