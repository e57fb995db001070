"""Outputs of single blocks as timm's models give them: dense maps, whichever tokens were dropped on the way."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from pcae.model.blocks import Encoded
from pcae.model.tokens import Grid, put_back


class Output(NamedTuple):
    """What came out of a block: its patch tokens, as a dense map or sequence, and class and register tokens."""

    patches: Float[Tensor, "batch ..."]
    prefix: Float[Tensor, "batch prefix dim"]


def taken(depth: int, indices: int | list[int] | None) -> list[int]:
    """The blocks that timm's `indices` name, ascending: the last so many, these, or all."""
    return sorted(set(feature_take_indices(depth, indices)[0]))


def dense_outputs(encoded: Encoded, blocks: Sequence[int], grid: Grid, norm: nn.Module, layout: str) -> list[Output]:
    """The recorded outputs of these blocks, normed, and 0 where a token was dropped before.

    layout: NCHW for maps, NLC for sequences of all positions. Raises ValueError for another.
    """
    if layout not in ("NCHW", "NLC"):
        raise ValueError(f"output_fmt must be NCHW or NLC, got {layout!r}")
    outputs = []
    for block in blocks:
        tokens, ids = encoded.recorded[block]
        dense = put_back(norm(tokens), ids, grid)
        patches = dense if layout == "NCHW" else dense.flatten(2).transpose(1, 2)
        outputs.append(Output(patches, norm(encoded.recorded_prefix[block])))
    return outputs


def as_timm_gives(outputs: list[Output], features: Tensor | None, with_prefix: bool, as_dict: bool) -> Any:
    """What timm's `forward_intermediates` returns. features: of the last block; None where they are not wanted."""
    patches, prefixes = [output.patches for output in outputs], [output.prefix for output in outputs]
    if as_dict:
        said: dict[str, Any] = {"image_intermediates": patches}
        said |= {"image_intermediates_prefix": prefixes} if with_prefix else {}
        return said | ({} if features is None else {"image_features": features})
    found = list(zip(patches, prefixes, strict=True)) if with_prefix else patches
    return found if features is None else (features, found)
