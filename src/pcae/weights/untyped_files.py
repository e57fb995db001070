"""Files of tensors in timm's names that say nothing of themselves, as MAE's: their sizes are read off the tensors."""

import re
from pathlib import Path
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from pcae.model.architecture import in_words
from pcae.model.pretrained import PretrainedFacts
from pcae.weights import beit, dinov3
from pcae.weights.decoders import with_mae_decoder
from pcae.weights.distilled import as_distilled
from pcae.weights.loaded import EMBEDDING, Loaded, Network, check_embedding, class_names
from pcae.weights.reading import number_in
from pcae.weights.structure import (
    MOCO,
    REMEDY,
    check_names,
    options_of,
    pooled,
    pooling_of,
    read_off,
    square_grid,
    usual_heads,
    with_one_class_position,
)
from pcae.weights.wrappers import Taken, encoder_in

HEADS_OF_ENCODER = "num_heads"
"""What MAE's code calls them; among the settings only in files that pcae wrote."""
MEAN, STD = "pcae_mean", "pcae_std"
"""What pixels were normalised with, among the settings of files that pcae wrote."""
NAMES = ((r"^(register_tokens|dist_token)$", "reg_token"), (r"\.gamma_([12])$", r".ls\1.gamma"))
"""Meta's names -> timm's: of DINOv2's registers, DeiT's second token and iBOT's layer scale."""


def find_untyped(tensors: dict[str, Tensor], path: Path, settings: dict[str, Any], asked: str | None = None) -> Loaded:
    """The weights of a file that says nothing of itself, and MAE's decoder where there is one.

    settings: of the training script, where the file holds them. asked: what the names of the wanted encoder begin with,
    where there are several. Raises ValueError for what is neither a plain ViT, nor DINOv3's, nor a BEiT.
    """
    taken = encoder_in(tensors, str(path), asked)
    check_embedding(taken.tensors, str(path))
    network = network_of(taken, path, settings)
    mean, std, statistics = statistics_of(settings, network.encoder.channels or 0)
    facts = PretrainedFacts(
        encoder=network.encoder,
        mean=mean,
        std=std,
        classes=class_names(network.tensors),
        global_pool=network.global_pool,
    )
    first, *others = network.granted
    granted = f"taken for granted: {', '.join([first, *statistics, *others])}"
    remarks = (*taken.remarks, *network.remarks, granted)
    loaded = Loaded(tensors=network.tensors, facts=facts, source=str(path), remarks=remarks)
    return with_mae_decoder(loaded, settings)


def network_of(taken: Taken, path: Path, settings: dict[str, Any]) -> Network:
    """The network of the kind that its tensors' names say."""
    if dinov3.is_metas(taken.tensors):
        return dinov3.of_meta(taken.tensors, str(path))
    if beit.is_beit(taken.tensors):
        return beit.of_file(taken.tensors, str(path))
    return plain_network(taken, path, settings)


def plain_network(taken: Taken, path: Path, settings: dict[str, Any]) -> Network:
    """A plain Vision Transformer, or DeiT's with two classifiers. Raises ValueError for what is none."""
    tensors = in_timms_names(taken.tensors)
    check_names(tensors, str(path))
    check_said(tensors, path)
    grid = square_grid(tensors, str(path))
    tensors = with_one_class_position(tensors, grid[0] * grid[1])
    options = options_of(tensors, grid, str(path))
    check_unambiguous(taken.tensors, options, path)
    heads, whence = heads_of(settings, taken.root, len(tensors[EMBEDDING]))
    side = grid[0] * tensors[EMBEDDING].shape[-1]
    config, pooling = read_off(tensors, (side, side), options, heads), pooling_of(tensors)
    network = Network(
        tensors=tensors,
        encoder=config,
        global_pool=pooling,
        remarks=(f"read as a ViT of {in_words(config, options)}; {config.heads} heads, {whence}",),
        granted=("activation GELU", f"images of {side} x {side}, as the positions have it", *pooled(pooling)),
    )
    return as_distilled(network)


def statistics_of(settings: dict[str, Any], channels: int) -> tuple[list[float], list[float], tuple[str, ...]]:
    """Mean and std of pixels, and what was taken for granted of them: nothing where the file says both."""
    said = [settings.get(name) for name in (MEAN, STD)]
    if all(isinstance(values, list) and len(values) == channels for values in said):
        mean, std = ([float(value) for value in values or ()] for values in said)
        return mean, std, ()
    if channels == len(IMAGENET_DEFAULT_MEAN):
        return [*IMAGENET_DEFAULT_MEAN], [*IMAGENET_DEFAULT_STD], ("mean and std of ImageNet",)
    return [0.5] * channels, [0.5] * channels, ("mean and std 0.5",)


def heads_of(settings: dict[str, Any], root: str, width: int) -> tuple[int, str]:
    """Attention heads, and who says so, in words. root: what the names of the encoder begin with."""
    said, mocos = number_in(settings, HEADS_OF_ENCODER), MOCO.get((root.rpartition(".")[2], width))
    if said:
        return said, "as the file says"
    return (mocos, "as MoCo v3's of its width") if mocos else (usual_heads(width), "by the width")


def in_timms_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in timm's names. A classifier goes with a second one whose token is not there."""
    named = tensors
    for theirs, ours in NAMES:
        named = {re.sub(theirs, ours, name): value for name, value in named.items()}
    if "head_dist.weight" in named and "reg_token" not in named:
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


def check_unambiguous(theirs: dict[str, Tensor], options: dict[str, Any], path: Path) -> None:
    """Raise ValueError for tensors that DeiT III has, and ViTs with rotary positions too: nothing tells them apart.

    theirs: the tensors by the names in the file. options: what the network has otherwise than the first ViT.
    """
    scales = [name for name in theirs if name.endswith(".gamma_1")]
    if scales and "no_embed_class" in options:
        raise ValueError(
            f"{path} has layer scale by the name {scales[0]} and positions of patches alone: DeiT III's files have "
            f"that, and those of ViTs with rotary positions; {REMEDY}"
        )
