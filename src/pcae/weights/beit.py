"""BEiT's Vision Transformers, in transformers' names and its authors', which are timm's: relative position bias."""

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from pcae.model.architecture import with_options
from pcae.settings.network import EncoderConfig
from pcae.weights.loaded import EMBEDDING, Network, check_embedding, count_blocks
from pcae.weights.names import joined, renamed
from pcae.weights.said import check_depth, check_same, known_sizes, pair
from pcae.weights.structure import HIDDEN, mlp_ratio, of_sizes, pooled, pooling_of

MODELS = {1024: "beit_large_patch16_224"}
OTHERWISE = "beit_base_patch16_224"
"""timm's names by width; they differ in sizes alone."""
TABLE = "relative_position_bias_table"
SHARED, FIRST = f"rel_pos_bias.{TABLE}", f"blocks.0.attn.{TABLE}"
"""The table that all blocks share, and the first block's own."""
INDEX = "relative_position_index"
"""What timm computes by itself."""
THEIRS = {
    r"^(encoder\.relative_position_bias|shared_position_bias)\.": "rel_pos_bias.",
    r"^blocks\.(\d+)\.(attn\.)?relative_position_bias\.": r"blocks.\1.attn.",
    r"\.lambda_([12])$": r".gamma_\1",
    r"\.attn\.(query|value)\.bias$": r".attn.\1_bias",
    r"^pooler\.layernorm\.": "fc_norm.",
    r"^classifier\.": "head.",
}
"""transformers' names of what a plain Vision Transformer does not have -> timm's."""
WITHOUT_LAYER_SCALE = 0
"""timm's initial value for models that have none."""


def of_transformers(tensors: dict[str, Tensor], config: dict[str, Any], folder: Path) -> Network:
    """The network of a folder. Raises ValueError for what timm's Beit does not compute, by setting and value."""
    check_settings(config, folder)
    named = joined({renamed(name): value for name, value in tensors.items() if not name.endswith(INDEX)})
    named = spread({timms_name(name): value for name, value in named.items()})
    check_embedding(named, str(folder))
    check_depth(config, named, folder)
    image_size, heads = known_sizes(config, folder)
    encoder = encoder_of(named, image_size)
    check_same(config, encoder, named[HIDDEN], folder)
    if encoder.heads != heads:
        raise ValueError(f"{folder}: num_attention_heads is {heads}, but the weights are for {encoder.heads}")
    return Network(tensors=named, encoder=encoder, global_pool=pooling_of(named))


def check_settings(config: dict[str, Any], folder: Path) -> None:
    """Raise ValueError for a setting that timm's Beit does not have."""
    if config["hidden_act"] not in ("gelu", "gelu_python"):
        raise ValueError(f"{folder}: hidden_act is {config['hidden_act']!r}; timm's Beit has gelu there")
    height, width = pair(config["image_size"])
    if height != width:
        raise ValueError(
            f"{folder}: image_size is {config['image_size']}; transformers distorts the bias of rectangles"
        )
    if config["use_absolute_position_embeddings"]:
        raise ValueError(f"{folder}: use_absolute_position_embeddings is true; timm's Beit has none of them")
    if not config["use_relative_position_bias"] and not config["use_shared_relative_position_bias"]:
        raise ValueError(f"{folder}: use_relative_position_bias is false; timm's Beit has that bias")


def timms_name(name: str) -> str:
    """timm's name of one of their tensors, whose other parts are in timm's words already."""
    for theirs, ours in THEIRS.items():
        name = re.sub(theirs, ours, name)
    return name.replace(".query_bias", ".q_bias").replace(".value_bias", ".v_bias")


def spread(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a shared table given to every block, as BEiT's own fine-tuning does."""
    tensors = dict(tensors)
    table = tensors.pop(SHARED, None)
    if table is None:
        return tensors
    names = [f"blocks.{block}.attn.{TABLE}" for block in range(count_blocks(tensors))]
    return tensors | {name: table + tensors.get(name, 0) for name in names}


def is_beit(tensors: Mapping[str, Tensor]) -> bool:
    """Whether names are those of a Beit: a class token, and tables of biases where it has them."""
    return "cls_token" in tensors and (FIRST in tensors or SHARED in tensors)


def of_file(tensors: dict[str, Tensor], where: str) -> Network:
    """The network of a file in its authors' and timm's names. Raises ValueError for what timm cannot compute."""
    named = spread({name: value for name, value in tensors.items() if not name.endswith(INDEX)})
    if "pos_embed" in named:
        raise ValueError(f"{where} has pos_embed beside relative position bias, which timm's Beit does not have")
    side = square_side(named[FIRST], where) * named[EMBEDDING].shape[-1]
    encoder, pooling = encoder_of(named, (side, side)), pooling_of(named)
    return Network(
        tensors=named,
        encoder=encoder,
        global_pool=pooling,
        remarks=(
            f"read as a BEiT, timm's {encoder.model}: {encoder.depth} blocks of width {encoder.width}; "
            f"{encoder.heads} heads, by the position bias",
        ),
        granted=("activation GELU", f"images of {side} x {side}, as the position bias has it", *pooled(pooling)),
    )


def square_side(table: Tensor, where: str) -> int:
    """Patches of a side of the square grid that a table is of. Raises ValueError where it is of none."""
    offsets = len(table) - 3  # three are for pairs with the class token
    side = isqrt(max(0, offsets))
    if side % 2 == 0 or side**2 != offsets:
        raise ValueError(f"{where} has position bias of {len(table)} rows, which are those of no square grid")
    return (side + 1) // 2


def encoder_of(tensors: Mapping[str, Tensor], image_size: tuple[int, int]) -> EncoderConfig:
    """Architecture and sizes, read off tensors in timm's names."""
    ratio = mlp_ratio(tensors)
    said = {
        "mlp_ratio": (ratio, ratio != 4),
        "init_values": (WITHOUT_LAYER_SCALE, "blocks.0.gamma_1" not in tensors),
        "qkv_bias": (False, "blocks.0.attn.q_bias" not in tensors),
    }
    options = {name: value for name, (value, there) in said.items() if there}
    model = with_options(MODELS.get(len(tensors[EMBEDDING]), OTHERWISE), options)
    return of_sizes(tensors, model, image_size, tensors[FIRST].shape[1])
