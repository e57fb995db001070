"""DINOv3's Vision Transformers, in transformers' and Meta's names: timm's Eva with rotary positions."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcae.model.architecture import with_options
from pcae.settings.network import EncoderConfig
from pcae.weights.loaded import EMBEDDING, Network, check_embedding
from pcae.weights.names import joined, renamed
from pcae.weights.said import check_depth, check_same, known_sizes
from pcae.weights.structure import HIDDEN, mlp_ratio, of_sizes

MODELS = {384: "vit_small_patch16_dinov3", 1024: "vit_large_patch16_dinov3"}
OTHERWISE = "vit_base_patch16_dinov3"
GATED_MODELS = {1280: "vit_huge_plus_patch16_dinov3"}
GATED_OTHERWISE = "vit_small_plus_patch16_dinov3"
"""timm's names by width, without and with gated MLPs; they differ in sizes alone."""
GATE = "blocks.0.mlp.fc1_g.weight"
"""The gate of a block's MLP."""
REGISTERS, BASE, MULTIPLE = 4, 100.0, 8
"""What timm's models have: register tokens, base of the rotary periods, and what gated MLPs are a multiple of."""
PERIODS = "rope_embed.periods"
"""Meta's name of the rotary periods, in pixels of a grid from -1 to 1."""
THEIRS = {r"^model\.layer\.": "layer.", r"^embeddings\.patch_embeddings\.": "patch_embed.proj."}
"""transformers' names -> those of its other networks, and timm's."""
PLAIN_MLP = {r"\.up_proj\.": ".fc1.", r"\.down_proj\.": ".fc2."}
GATED_MLP = {r"\.gate_proj\.": ".fc1_g.", r"\.up_proj\.": ".fc1_x.", r"\.down_proj\.": ".fc2."}
"""transformers' names in an MLP -> timm's."""
METAS = {
    r"^storage_tokens$": "reg_token",
    r"\.mlp\.w1\.": ".mlp.fc1_g.",
    r"\.mlp\.w2\.": ".mlp.fc1_x.",
    r"\.mlp\.w3\.": ".mlp.fc2.",
    r"^head\.": "head_cls.",
}
"""Meta's names -> timm's; a classifier is left out by name, as nothing says what it takes."""
IN_TRAINING = re.compile(r"\.bias_mask$|^rope_embed\.periods$|^local_cls_norm\.")
"""Meta's tensors that are used up in reading, or in training alone."""
BIASES = {"query_bias": "attn.query.", "value_bias": "attn.value.", "proj_bias": "attn.proj.", "mlp_bias": ".mlp."}
"""transformers' settings, and parts of the names of what has a bias by them."""


def of_transformers(tensors: dict[str, Tensor], config: dict[str, Any], folder: Path) -> Network:
    """The network of a folder. Raises ValueError for what timm's DINOv3 does not compute, by setting and value."""
    check_settings(config, folder)
    mlp = GATED_MLP if config["use_gated_mlp"] else PLAIN_MLP
    named = {replaced(renamed(replaced(name, THEIRS)), mlp): value for name, value in tensors.items()}
    named = as_eva(joined(with_zeros(named, config)), str(folder))
    check_embedding(named, str(folder))
    check_depth(config, named, folder)
    image_size, heads = known_sizes(config, folder)
    encoder = encoder_of(named, image_size, heads, str(folder))
    check_same(config, encoder, named[first_of_mlp(named)], folder)
    return Network(tensors=named, encoder=encoder)


def check_settings(config: dict[str, Any], folder: Path) -> None:
    """Raise ValueError for a setting that timm's DINOv3 does not have."""
    usual = ("silu", "swish") if config["use_gated_mlp"] else ("gelu", "gelu_python")
    if config["hidden_act"] not in usual:
        raise ValueError(f"{folder}: hidden_act is {config['hidden_act']!r}; timm's DINOv3 has {usual[0]} there")
    for name, value in {"rope_theta": BASE, "num_register_tokens": REGISTERS}.items():
        if config[name] != value:
            raise ValueError(f"{folder}: {name} is {config[name]!r}; timm's DINOv3 has {value:g}")


def replaced(name: str, patterns: Mapping[str, str]) -> str:
    """A name in which each pattern is replaced."""
    for theirs, ours in patterns.items():
        name = re.sub(theirs, ours, name)
    return name


def with_zeros(tensors: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors with biases of 0 where the settings say that there are none and timm has some."""
    absent = {setting for setting in BIASES if not config[setting]}
    if {"query_bias", "value_bias"} <= absent:  # timm has models without both
        absent -= {"query_bias", "value_bias"}
    parts = [BIASES[setting] for setting in absent]
    zeros = {
        name.removesuffix("weight") + "bias": value.new_zeros(len(value))
        for name, value in tensors.items()
        if name.startswith("blocks.") and name.endswith(".weight") and any(part in name for part in parts)
    }
    return zeros | tensors


def as_eva(tensors: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Layer scale and biases of queries and values as timm's Eva has them. Raises ValueError for biases of keys."""
    found = {}
    for name, value in tensors.items():
        start, _, end = name.rpartition(".attn.")
        if end == "qkv.bias":
            query, key, values = value.chunk(3)
            if key.any():
                raise ValueError(f"{where} has biases of keys ({name}), which timm's DINOv3 does not have")
            found |= {f"{start}.attn.q_bias": query, f"{start}.attn.v_bias": values}
        elif end in ("query.bias", "value.bias"):
            found[f"{start}.attn.{end[0]}_bias"] = value
        else:
            found[re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name)] = value
    return found


def is_metas(tensors: Mapping[str, Tensor]) -> bool:
    """Whether names are those of Meta's DINOv3."""
    return PERIODS in tensors or "storage_tokens" in tensors


def of_meta(tensors: dict[str, Tensor], where: str) -> Network:
    """The network of a file of Meta's, for images of 14 x 14 patches. Raises ValueError for what timm has not."""
    heads = heads_by_periods(tensors, where)
    masked = {name: tensors[name] * mask for name, mask in masks_in(tensors)}
    named = {replaced(name, METAS): value for name, value in (tensors | masked).items() if not IN_TRAINING.search(name)}
    named = as_eva(named, where)
    side = 14 * named[EMBEDDING].shape[-1]
    encoder = encoder_of(named, (side, side), heads, where)
    read = f"read as DINOv3's ViT, timm's {encoder.model}: {encoder.depth} blocks of width {encoder.width}"
    activation = "SiLU" if GATE in named else "GELU"
    return Network(
        tensors=named,
        encoder=encoder,
        remarks=(f"{read}; {heads} heads, by the rotary periods",),
        granted=(f"activation {activation}", "norms of epsilon 1e-5", f"images of {side} x {side}"),
    )


def masks_in(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """The biases that are masked, by name, with their masks: 0 where a bias does not count."""
    return [(name, tensors[f"{name}_mask"]) for name in tensors if f"{name}_mask" in tensors]


def heads_by_periods(tensors: Mapping[str, Tensor], where: str) -> int:
    """Attention heads: a head has four features for each period. Raises ValueError where these are not DINOv3's."""
    if PERIODS not in tensors:
        raise ValueError(f"{where} has lost {PERIODS}, by which heads are known; give the whole file, or timm:NAME")
    periods, width = tensors[PERIODS].float(), len(tensors[EMBEDDING])
    count = max(1, len(periods))
    usual = BASE ** (torch.arange(count) / count)
    if periods.shape != usual.shape or not torch.allclose(periods, usual, rtol=0.01) or width % (4 * count):
        raise ValueError(f"{where} has other rotary periods ({PERIODS}) than DINOv3's, whose base is {BASE:g}")
    return width // (4 * count)


def encoder_of(tensors: Mapping[str, Tensor], image_size: tuple[int, int], heads: int, where: str) -> EncoderConfig:
    """Architecture and sizes, read off tensors in timm's names. Raises ValueError for what timm's DINOv3 is not."""
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    if registers != REGISTERS:
        raise ValueError(f"{where} has {registers} register tokens; timm's DINOv3 has {REGISTERS}")
    width = len(tensors[EMBEDDING])
    if width % (4 * heads):
        raise ValueError(f"{where} has {heads} heads of {width / heads:g} features, which must be a multiple of 4")
    return of_sizes(tensors, model_of(tensors, where), image_size, heads)


def model_of(tensors: Mapping[str, Tensor], where: str) -> str:
    """timm's name, with what the network has otherwise behind it."""
    first, width = first_of_mlp(tensors), len(tensors[EMBEDDING])
    if first == GATE and len(tensors[GATE]) % MULTIPLE:
        raise ValueError(f"{where} has gated MLPs of {len(tensors[GATE])} features, timm's are multiples of {MULTIPLE}")
    name = GATED_MODELS.get(width, GATED_OTHERWISE) if first == GATE else MODELS.get(width, OTHERWISE)
    biased, ratio = "blocks.0.attn.q_bias" in tensors, mlp_ratio(tensors, first)
    return with_options(f"{name}_qkvb" if biased else name, {} if ratio == 4 else {"mlp_ratio": ratio})


def first_of_mlp(tensors: Mapping[str, Tensor]) -> str:
    """The name of the first layer of a block's MLP: its gate where it has one."""
    return GATE if GATE in tensors else HIDDEN
