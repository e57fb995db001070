"""Files of tensors in timm's names that say nothing of themselves, as MAE's: their sizes are read off the tensors."""

from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from pcae.model.pretrained import PretrainedFacts
from pcae.settings.network import EncoderConfig
from pcae.weights.decoders import with_mae_decoder
from pcae.weights.loaded import EMBEDDING, Loaded, check_embedding, class_names, count_blocks
from pcae.weights.matching import first_of
from pcae.weights.reading import number_in

HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
"""Attention heads of the usual widths; others have heads of 64 features."""
HEADS_OF_ENCODER = "num_heads"
"""What MAE's code calls them; among the settings only in files that pcae wrote."""
ARCHITECTURES = {
    (True, 0, 1, False): "vit_base_patch16_224",
    (True, 0, 1, True): "vit_base_patch14_dinov2",
    (True, 0, 0, False): "flexivit_base",
    (True, 0, 0, True): "deit3_base_patch16_224",
    (True, 4, 0, True): "vit_base_patch14_reg4_dinov2",
    (False, 0, 0, False): "vit_base_patch16_gap_224",
    (False, 1, 0, True): "vit_betwixt_patch16_reg1_gap_256",
    (False, 4, 0, False): "vit_base_patch16_reg4_gap_256",
    (False, 4, 0, True): "vit_betwixt_patch16_reg4_gap_256",
}
"""timm's names by what makes plain ViTs differ: class token, registers, positions of these two, layer scale."""


def find_untyped(tensors: dict[str, Tensor], path: Path, settings: dict[str, Any]) -> Loaded:
    """The weights of a file that says nothing of itself, and MAE's decoder where there is one.

    settings: of the training script, where the file holds them. Raises ValueError for what is no plain ViT.
    """
    check_embedding(tensors, str(path))
    check_names(tensors, path)
    config, heads = read_off(tensors, path), number_in(settings, HEADS_OF_ENCODER)
    config = replace(config, heads=heads or config.heads)
    usual = config.channels == len(IMAGENET_DEFAULT_MEAN)
    mean, std = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD) if usual else ([0.5] * (config.channels or 0),) * 2
    facts = PretrainedFacts(
        encoder=config,
        mean=list(mean),
        std=list(std),
        classes=class_names(tensors),
        global_pool=pooling_of(tensors),
    )
    remarks = (
        f"read as timm's {config.model}: {config.depth} blocks of width {config.width}; "
        f"{config.heads} heads, {'as the file says' if heads else 'by the width'}",
        f"taken for granted: mean and std {'of ImageNet' if usual else '0.5'}, images of "
        f"{config.image_size[0]} x {config.image_size[1]}, as the positions have it",
    )
    return with_mae_decoder(Loaded(tensors=tensors, facts=facts, source=str(path), remarks=remarks), settings)


def check_names(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise ValueError for positions by distance, which a plain ViT does not have (SimMIM, BEiT)."""
    odd = [name for name in tensors if "rel_pos" in name or "relative_pos" in name]
    if odd:
        raise ValueError(f"{path} has relative position bias ({first_of(odd, 1)}), which a plain ViT does not have")
    if "pos_embed" not in tensors:
        raise ValueError(f"{path} holds no pos_embed; only ViTs with learned or sine-cosine positions are read")


def read_off(tensors: dict[str, Tensor], path: Path) -> EncoderConfig:
    """Architecture and sizes, from the tensors' names and shapes."""
    width, channels, patch = tensors[EMBEDDING].shape[:3]
    check_mlp(tensors, width, path)
    class_token, registers = "cls_token" in tensors, tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    side, n_prefix = sides(tensors["pos_embed"].shape[1], int(class_token) + registers, path)
    structure = (class_token, registers, n_prefix, "blocks.0.ls1.gamma" in tensors)
    if structure not in ARCHITECTURES:
        raise ValueError(
            f"{path} holds a ViT of a kind that is not read (class token {class_token}, {registers} registers, "
            f"{n_prefix} positions of them, layer scale {structure[3]}); if timm has it, use timm:NAME"
        )
    return EncoderConfig(
        model=ARCHITECTURES[structure],
        image_size=(side * patch, side * patch),
        patch_size=patch,
        channels=channels,
        width=width,
        depth=count_blocks(tensors),
        heads=usual_heads(width),
    )


def usual_heads(width: int) -> int:
    """Attention heads that a ViT of this width has where nobody says."""
    return HEADS.get(width, max(1, width // 64))


def check_mlp(tensors: dict[str, Tensor], width: int, path: Path) -> None:
    """Raise ValueError unless the blocks' hidden layers are four times as wide as a token."""
    name = "blocks.0.mlp.fc1.weight"
    if name not in tensors:
        raise ValueError(f"{path} holds no encoder: no {name} among its tensors")
    if tensors[name].shape[0] != 4 * width:
        raise ValueError(f"{path} has an mlp ratio of {tensors[name].shape[0] / width:.3g}; only 4 is read")


def sides(positions: int, n_prefix: int, path: Path) -> tuple[int, int]:
    """Side of the square grid, and how many of the positions belong to class token and registers: all or none."""
    for of_prefix in (n_prefix, 0):
        side = isqrt(max(0, positions - of_prefix))
        if side and side**2 + of_prefix == positions:
            return side, of_prefix
    raise ValueError(f"{path} has {positions} positions, which are no square grid with or without {n_prefix} more")


def pooling_of(tensors: dict[str, Tensor]) -> str:
    """timm's name of the pooling: a norm after it stands for the average, as in fine-tuned MAE."""
    if "fc_norm.weight" in tensors or ("head.weight" in tensors and "cls_token" not in tensors):
        return "avg"
    return "token" if "head.weight" in tensors else ""
