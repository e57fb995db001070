"""What a Vision Transformer is, read off its tensors in timm's names: sizes, tokens, norms, scales."""

from collections.abc import Mapping
from math import isqrt, prod
from typing import Any

from torch import Tensor

from pcae.model.architecture import with_options
from pcae.model.tokens import Grid
from pcae.settings.network import EncoderConfig
from pcae.weights.loaded import EMBEDDING, count_blocks
from pcae.weights.matching import first_of

PLAIN = {
    192: "vit_tiny_patch16_224",
    384: "vit_small_patch16_224",
    1024: "vit_large_patch16_224",
    1280: "vit_huge_patch14_224",
}
"""timm's names of the usual widths; they differ in sizes alone."""
OTHERWISE = "vit_base_patch16_224"
"""The name for other widths, whose sizes are said beside it."""
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1152: 16, 1280: 16, 1408: 16, 1664: 16}
"""Attention heads of the usual widths (1152: so400m, 1408: giant, 1664: gigantic); others have heads of 64 features."""
MOCO = {("base_encoder", 384): 12, ("momentum_encoder", 384): 12}
"""Attention heads of MoCo v3's ViT-S, which are not the usual ones, by what its encoders are called and its width."""
GATED = (".mlp.w12.", ".mlp.gate_proj.", ".mlp.fc1_g.")
"""Parts of the names of gated MLPs, Meta's, transformers' and timm's."""
QUERY_BIAS = (".attn.q_bias", ".attn.q_proj.weight")
"""How names end in attention whose queries have a bias of their own, as timm's Eva has."""
REMEDY = "give the same network as timm:NAME, or a file that pcae.save wrote of it"
"""What helps where tensors do not say what they are of."""
HIDDEN = "blocks.0.mlp.fc1.weight"
"""The first layer of a block's MLP."""


def usual_heads(width: int) -> int:
    """Attention heads that a ViT of this width has where nobody says."""
    return HEADS.get(width, max(1, width // 64))


def check_names(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise ValueError, by name and with the remedy, for what a plain ViT does not have, and for no positions."""
    gated = [name for name in tensors if any(part in name for part in GATED)] or half_as_wide(tensors)
    odd = {
        "relative position bias": [name for name in tensors if "rel_pos" in name or "relative_pos" in name],
        "rotary positions": [name for name in tensors if "rope" in name],
        "gated MLPs": gated,
        "biases of queries by themselves": [name for name in tensors if name.endswith(QUERY_BIAS)],
    }
    for what, names in odd.items():
        if names:
            raise ValueError(f"{where} has {what} ({first_of(names, 1)}), which a plain ViT does not have; {REMEDY}")
    if "pos_embed" not in tensors:
        raise ValueError(
            f"{where} holds no pos_embed; only ViTs with learned or sine-cosine positions are read; {REMEDY}"
        )
    if HIDDEN not in tensors:
        raise ValueError(f"{where} holds no encoder: no {HIDDEN} among its tensors")


def half_as_wide(tensors: Mapping[str, Tensor]) -> list[str]:
    """The second layer of an MLP that takes half of what the first one gives: the other half are gates."""
    first, second = tensors.get(HIDDEN), tensors.get("blocks.0.mlp.fc2.weight")
    halved = first is not None and second is not None and first.shape[0] == 2 * second.shape[-1]
    return ["blocks.0.mlp.fc2.weight"] if halved else []


def with_one_class_position(tensors: dict[str, Tensor], n_patches: int) -> dict[str, Tensor]:
    """The tensors; where registers have no position and the class token has one, it is added to that token.

    So DINOv2's files have it. Token plus position is all that a network sees of both.
    """
    if "reg_token" not in tensors or "cls_token" not in tensors or tensors["pos_embed"].shape[1] != n_patches + 1:
        return tensors
    first, others = tensors["pos_embed"].tensor_split([1], dim=1)
    return tensors | {"cls_token": tensors["cls_token"] + first, "pos_embed": others}


def square_grid(tensors: Mapping[str, Tensor], where: str) -> Grid:
    """The square grid that the positions are of: those of class token and registers are all there, none, or one."""
    n_prefix = prefix_of(tensors)
    positions = tensors["pos_embed"].shape[1]
    for extra in dict.fromkeys((n_prefix, 0, min(1, n_prefix))):
        side = isqrt(max(0, positions - extra))
        if side and side**2 + extra == positions:
            return side, side
    raise ValueError(f"{where} has {positions} positions, which are no square grid with or without {n_prefix} more")


def prefix_of(tensors: Mapping[str, Tensor]) -> int:
    """Class and register tokens."""
    return int("cls_token" in tensors) + (tensors["reg_token"].shape[1] if "reg_token" in tensors else 0)


def options_of(tensors: Mapping[str, Tensor], grid: Grid, where: str) -> dict[str, Any]:
    """What the network has otherwise than the first ViT, as options of its name. Raises ValueError for odd positions.

    The class token's position must be no tensor of its own any more.
    """
    registers, n_prefix = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0, prefix_of(tensors)
    extra, ratio = tensors["pos_embed"].shape[1] - prod(grid), mlp_ratio(tensors)
    if extra not in (0, n_prefix):
        raise ValueError(
            f"{where} has {extra + prod(grid)} positions for {n_prefix} prefix tokens and a grid of {grid[0]} x "
            f"{grid[1]}; only those of all or of patches alone are read"
        )
    said = {
        "class_token": (False, "cls_token" not in tensors),
        "reg_tokens": (registers, registers > 0),
        "no_embed_class": (True, n_prefix > 0 and extra == 0),
        "pre_norm": (True, "norm_pre.weight" in tensors),
        "init_values": (1e-5, "blocks.0.ls1.gamma" in tensors),
        "mlp_ratio": (ratio, ratio != 4),
        "qkv_bias": (False, "blocks.0.attn.qkv.bias" not in tensors),
        "fc_norm": (False, pooling_of(tensors) == "avg" and "fc_norm.weight" not in tensors),
    }
    return {name: value for name, (value, there) in said.items() if there}


def mlp_ratio(tensors: Mapping[str, Tensor], first: str = HIDDEN) -> float:
    """How much wider than a token the blocks' hidden layers are, so that timm's rounding finds them again.

    first: the name of the first layer of a block's MLP.
    """
    hidden, width = (tensors[first].shape[axis] for axis in (0, 1))
    return hidden / width if int(width * (hidden / width)) == hidden else (hidden + 0.5) / width


def pooling_of(tensors: Mapping[str, Tensor]) -> str:
    """timm's name of the pooling: a norm after it stands for the average, as in fine-tuned MAE."""
    if "fc_norm.weight" in tensors or ("head.weight" in tensors and "cls_token" not in tensors):
        return "avg"
    return "token" if "head.weight" in tensors else ""


def pooled(pooling: str) -> tuple[str, ...]:
    """What is taken for granted of a classifier's pooling, in words."""
    return ("a classifier on the class token",) if pooling == "token" else ()


def read_off(
    tensors: Mapping[str, Tensor], image_size: tuple[int, int], options: Mapping[str, Any], heads: int | None
) -> EncoderConfig:
    """Architecture and sizes. heads: of the attention, where somebody says."""
    width = len(tensors[EMBEDDING])
    return of_sizes(
        tensors, with_options(PLAIN.get(width, OTHERWISE), options), image_size, heads or usual_heads(width)
    )


def of_sizes(tensors: Mapping[str, Tensor], model: str, image_size: tuple[int, int], heads: int) -> EncoderConfig:
    """The network of that name in the sizes of tensors in timm's names."""
    width, channels, patch = tensors[EMBEDDING].shape[:3]
    return EncoderConfig(
        model=model,
        image_size=image_size,
        patch_size=patch,
        channels=channels,
        width=width,
        depth=count_blocks(tensors),
        heads=heads,
    )
