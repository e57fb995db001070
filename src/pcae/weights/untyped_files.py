"""Files of tensors in timm's names that say nothing of themselves, as MAE's: their sizes are read off the tensors."""

import re
from pathlib import Path
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from pcae.model.architecture import in_words
from pcae.model.pretrained import PretrainedFacts
from pcae.weights.decoders import with_mae_decoder
from pcae.weights.loaded import EMBEDDING, Loaded, check_embedding, class_names
from pcae.weights.reading import number_in
from pcae.weights.structure import (
    MOCO,
    check_names,
    options_of,
    pooling_of,
    read_off,
    square_grid,
    usual_heads,
    with_one_class_position,
)
from pcae.weights.wrappers import encoder_in

HEADS_OF_ENCODER = "num_heads"
"""What MAE's code calls them; among the settings only in files that pcae wrote."""
MEAN, STD = "pcae_mean", "pcae_std"
"""What pixels were normalised with, among the settings of files that pcae wrote."""
NAMES = ((r"^(register_tokens|dist_token)$", "reg_token"), (r"\.gamma_([12])$", r".ls\1.gamma"))
"""Meta's names -> timm's: of DINOv2's registers, DeiT's second token and DeiT III's layer scale."""


def find_untyped(tensors: dict[str, Tensor], path: Path, settings: dict[str, Any], asked: str | None = None) -> Loaded:
    """The weights of a file that says nothing of itself, and MAE's decoder where there is one.

    settings: of the training script, where the file holds them. asked: what the names of the wanted encoder begin with,
    where there are several. Raises ValueError for what is no plain ViT.
    """
    taken = encoder_in(tensors, str(path), asked)
    tensors = in_timms_names(taken.tensors)
    check_embedding(tensors, str(path))
    check_names(tensors, str(path))
    check_said(tensors, path)
    grid = square_grid(tensors, str(path))
    tensors = with_one_class_position(tensors, grid[0] * grid[1])
    options = options_of(tensors, grid, str(path))
    heads, whence = heads_of(settings, taken.root, len(tensors[EMBEDDING]))
    side = grid[0] * tensors[EMBEDDING].shape[-1]
    config = read_off(tensors, (side, side), options, heads)
    mean, std, statistics = statistics_of(settings, config.channels or 0)
    facts = PretrainedFacts(
        encoder=config,
        mean=mean,
        std=std,
        classes=class_names(tensors),
        global_pool=pooling_of(tensors),
    )
    remarks = (
        *taken.remarks,
        f"read as a ViT of {in_words(config, options)}; {config.heads} heads, {whence}",
        f"taken for granted: activation GELU, {statistics}images of {side} x {side}, as the positions have it"
        f"{', a classifier on the class token' if facts.global_pool == 'token' else ''}",
    )
    return with_mae_decoder(Loaded(tensors=tensors, facts=facts, source=str(path), remarks=remarks), settings)


def statistics_of(settings: dict[str, Any], channels: int) -> tuple[list[float], list[float], str]:
    """Mean and std of pixels, and in words what was taken for granted of them: nothing where the file says both."""
    said = [settings.get(name) for name in (MEAN, STD)]
    if all(isinstance(values, list) and len(values) == channels for values in said):
        mean, std = ([float(value) for value in values or ()] for values in said)
        return mean, std, ""
    if channels == len(IMAGENET_DEFAULT_MEAN):
        return [*IMAGENET_DEFAULT_MEAN], [*IMAGENET_DEFAULT_STD], "mean and std of ImageNet, "
    return [0.5] * channels, [0.5] * channels, "mean and std 0.5, "


def heads_of(settings: dict[str, Any], root: str, width: int) -> tuple[int, str]:
    """Attention heads, and who says so, in words. root: what the names of the encoder begin with."""
    said, mocos = number_in(settings, HEADS_OF_ENCODER), MOCO.get((root.rpartition(".")[2], width))
    if said:
        return said, "as the file says"
    return (mocos, "as MoCo v3's of its width") if mocos else (usual_heads(width), "by the width")


def in_timms_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in timm's names. A classifier that needs a second one on DeiT's other token goes with it."""
    named = tensors
    for theirs, ours in NAMES:
        named = {re.sub(theirs, ours, name): value for name, value in named.items()}
    if "head_dist.weight" in named:
        named = {re.sub(r"^head\.", "head_cls.", name): value for name, value in named.items()}
    return named


def check_said(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise ValueError for networks whose tensors do not say what they compute."""
    marks = {
        "a norm before the blocks, as CLIP's have": "norm_pre.weight" in tensors,
        "a pooling by attention, as SigLIP's have": "attn_pool.latent" in tensors and "cls_token" not in tensors,
    }
    for what, there in marks.items():
        if there:
            raise ValueError(
                f"{path} has {what}, whose activation stands in no tensor; give a folder of transformers', which says "
                "it, or timm:NAME"
            )
