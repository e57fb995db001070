"""transformers' names of tensors and timm's, both ways."""

import re

import torch
from torch import Tensor

from pcae.weights.matching import group_of

DECODER = "decoder."
"""How the names of ViTMAE's decoder begin."""
APART = (DECODER, "head.", "pooler.", "classifier.", "cls_classifier.", "distillation_classifier.")
"""How the names begin of what is no part of an encoder."""
NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.mask_token": "mask_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "encoder.layer.": "blocks.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.attention.": "attn.",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm.": "norm.",
    "classifier.": "head.",
}
"""Theirs -> timm's, one after the other."""
NEWER = {
    r"^(encoder\.)?layers?\.": "blocks.",
    r"^embeddings\.(register_tokens|distillation_token)$": "reg_token",
    r"^embeddings\.class_embedding$": "cls_token",
    r"^embeddings\.position_embedding\.weight$": "pos_embed",
    r"^embeddings\.patch_embedding\.": "patch_embed.proj.",
    r"^pre_layrnorm\.": "norm_pre.",
    r"^post_layernorm\.": "norm.",
    r"\.(attention|self_attn)\.([qkv])_proj\.": r".attn.\2_proj.",
    r"\.(attention\.o|self_attn\.out)_proj\.": ".attn.proj.",
    r"\.layer_norm([12])\.": r".norm\1.",
    r"\.layer_scale([12])\.lambda1$": r".ls\1.gamma",
}
"""More of their names -> timm's: of transformers 5, and of DINOv2, DeiT, SigLIP and CLIP."""
LETTERS = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
"""Queries, keys and values, as transformers 5 and 4 write them."""


def renamed(name: str) -> str:
    """timm's name of one of their tensors; queries, keys and values stay apart, decoder and heads as they are."""
    if name.startswith(APART):
        return name
    for theirs, ours in NEWER.items():
        name = re.sub(theirs, ours, name)
    for theirs, ours in (*LETTERS.items(), *NAMES.items()):
        name = name.replace(theirs, ours)
    return name


def joined(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with queries, keys and values of a block in one, as timm has them."""
    tensors = dict(tensors)
    for query in [name for name in tensors if ".attn.query." in name]:
        parts = [query.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in tensors for part in parts):
            tensors[query.replace(".query.", ".qkv.")] = torch.cat([tensors.pop(part) for part in parts])
    return tensors


def in_their_names(tensors: dict[str, Tensor], start: str = "") -> dict[str, Tensor]:
    """The other way round: tensors of timm's ViT, or of MAE's decoder, in their names, queries, keys and values apart.

    start: what the names of all but the classifier's begin with.
    """
    theirs = {}
    for name, value in tensors.items():
        own = their_name(name)
        own = own if own.startswith("classifier.") else start + own
        parts = zip(("query", "key", "value"), value.chunk(3), strict=True) if ".qkv." in own else [("qkv", value)]
        theirs |= {own.replace("qkv", part): third for part, third in parts}
    return theirs


def their_name(name: str) -> str:
    """Their name of one of timm's tensors, or of MAE's decoder's; queries, keys and values still in one."""
    if group_of(name) != "decoder" or name.startswith("decoder_blocks."):
        for theirs, ours in reversed(NAMES.items()):
            name = name.replace(ours, theirs)
    return name.replace("decoder_encoder.layer.", "decoder_layers.")
