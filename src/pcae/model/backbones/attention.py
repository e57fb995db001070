"""What a block's attention looks at, computed beside the block, whose own attention stays fused."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from timm.layers.attention import Attention, AttentionRope
from timm.models import beit
from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, ResPostBlock
from torch import Tensor, nn
from torch.nn import functional as F

from pcae.model.tokens import upcast

NORM_FIRST = (Block, EvaBlock, beit.Block)
"""Blocks whose attention sees their sequence after a norm."""
NORM_LAST = (ResPostBlock, EvaBlockPostNorm)
"""Blocks whose attention sees their sequence as it is."""
ATTENTIONS = (Attention, AttentionRope, EvaAttention, beit.Attention)
"""Attention by one softmax of queries times keys."""


def attention_by_head(
    block: Any,
    sequence: Float[Tensor, "batch all dim"],
    turned: Callable[[Tensor], Tensor] = lambda heads: heads,
    bias: Float[Tensor, "batch #heads #all all"] | float = 0.0,
) -> Float[Tensor, "batch heads all all"]:
    """Attention inside a block that takes `sequence`, head by head: from each token (row) to each.

    turned: what positions make of queries and keys. bias: what is added to their products. Raises ValueError for a
    block whose attention is none by a softmax of queries times keys, or not one.
    """
    check_attention(block)
    attention: Any = block.attn
    entering = block.norm1(sequence) if isinstance(block, NORM_FIRST) else sequence
    query, key = map(turned, queries_and_keys(attention, entering))
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)  # queries may share keys in groups
    return (upcast(query @ key.transpose(-2, -1) * attention.scale) + bias).softmax(dim=-1)


def queries_and_keys(
    attention: Any, tokens: Float[Tensor, "batch all dim"]
) -> tuple[Float[Tensor, "batch heads all head_dim"], Float[Tensor, "batch key_heads all head_dim"]]:
    """Queries and keys of an attention, head by head, before positions turn them."""
    if attention.qkv is None:
        query, key = attention.q_proj(tokens), attention.k_proj(tokens)
    else:
        query, key, _ = attention.qkv(tokens).chunk(3, dim=-1)
        if isinstance(attention, EvaAttention | beit.Attention) and attention.q_bias is not None:
            query, key = query + attention.q_bias, key + attention.k_bias
    width = query.shape[-1] // attention.num_heads
    query, key = (one.unflatten(-1, (-1, width)).transpose(1, 2) for one in (query, key))
    return (query, key) if isinstance(attention, beit.Attention) else (attention.q_norm(query), attention.k_norm(key))


def mean_keys(block: Any, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens head_dim"]:
    """Keys of some tokens that enter a block, averaged over its heads, before positions turn them.

    Where no norm stands behind them, the weights are averaged: it is the same, for one head's price.
    """
    check_attention(block)
    attention: Any = block.attn
    tokens = block.norm1(tokens) if isinstance(block, NORM_FIRST) else tokens
    weight, bias = weights_of_keys(attention)
    heads = attention.num_heads if attention.qkv is not None else weight.shape[0] // attention.head_dim
    norm = getattr(attention, "k_norm", nn.Identity())
    if isinstance(norm, nn.Identity):
        average = None if bias is None else bias.unflatten(0, (heads, -1)).mean(0)
        return F.linear(tokens, weight.unflatten(0, (heads, -1)).mean(0), average)
    return norm(F.linear(tokens, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2)).mean(dim=1)


def weights_of_keys(attention: Any) -> tuple[Tensor, Tensor | None]:
    """Of the linear layer that makes the keys of all heads."""
    if attention.qkv is None:
        return attention.k_proj.weight, attention.k_proj.bias
    own = isinstance(attention, EvaAttention | beit.Attention) and attention.q_bias is not None
    bias = attention.qkv.bias
    bias = attention.get_buffer("k_bias") if own else None if bias is None else bias.chunk(3)[1]
    return attention.qkv.weight.chunk(3)[1], bias


def can_look(block: nn.Module) -> bool:
    """Whether a block's attention can be looked at."""
    return isinstance(block, NORM_FIRST + NORM_LAST) and type(block.attn) in ATTENTIONS


def check_attention(block: nn.Module) -> None:
    """Raise ValueError, by name, for a block whose attention cannot be looked at."""
    if not can_look(block):
        odd = block.attn if isinstance(block, NORM_FIRST + NORM_LAST) else block
        name = f"{type(odd).__module__.rpartition('.')[2]}.{type(odd).__name__}"
        raise ValueError(
            f"token-importance, saliency, bipartite and merging look at a block's attention, which {name} does not "
            "have as one softmax of queries times keys; use mean-similarity, decomposition or random without merging, "
            "or a model with timm's usual blocks, such as vit_base_patch16_224"
        )
