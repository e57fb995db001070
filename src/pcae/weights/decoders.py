"""Decoders that come with an encoder, MAE's, the public PCAE code's, transformers' and ours, and into a method's."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor

from pcae.model.decoder import Decoder
from pcae.model.encoder import set_norm_eps
from pcae.model.pretrained import DecoderFacts, Predicts, TrainedDecoder, build_decoder
from pcae.model.tokens import Grid, sincos_positions
from pcae.settings.network import DecoderConfig
from pcae.settings.values import check_values
from pcae.training.checkpoint import read, save_atomically
from pcae.weights.loaded import EMBEDDING, Loaded, count_blocks
from pcae.weights.matching import group_of
from pcae.weights.reading import number_in, reason_of

DECODER_FILE = "decoder.safetensors"
"""The decoder of a pre-training, beside its encoder in the run folder."""
DECODER_HEADS = 16
"""Attention heads of MAE's decoder, which its files do not say."""
HEADS_OF_DECODER = "decoder_num_heads"
"""What MAE's code calls them; among the settings only in files that pcae wrote."""
POSITIONS = "decoder_pos_embed"
"""MAE's fixed positions, class token first; ours are computed."""
NAMES = {
    "decoder_embed.": "adapter.",
    "mask_token": "mask_token",
    "decoder_blocks.": "blocks.",
    "decoder_norm.": "norm.",
    "decoder_pred.": "head.",
}
"""How names begin: MAE's -> ours."""
OF_PCAE = {"decoder_depth", "decoder_embed_dim"}
"""Settings of the public PCAE code's training script that MAE's does not have."""
OF_MAE = "norm_pix_loss"
"""A setting of MAE's that the public PCAE code's does not have."""
NEAR = 1e-3
"""How far positions may be from the sine-cosine ones: half precision."""


def save_decoder(
    path: Path, decoder: Decoder, config: DecoderConfig, predicts: Predicts, norm_pix_loss: bool | None = None
) -> None:
    """Write a decoder with what is needed to use it. norm_pix_loss: as the method has it, None for features."""
    said = replace(config, decoder_depth=len(decoder.blocks))
    facts = DecoderFacts(decoder=said, predicts=predicts, norm_eps=decoder.norm.eps, norm_pix_loss=norm_pix_loss)
    save_atomically(path, decoder.state_dict(), asdict(facts))


def with_our_decoder(loaded: Loaded, path: Path) -> Loaded:
    """The weights with the decoder in a file of ours."""
    return with_decoder(loaded, lambda: read_ours(path), name=path.name)


def with_mae_decoder(loaded: Loaded, settings: dict[str, Any]) -> Loaded:
    """The weights with the decoder that stands among their tensors in MAE's names, if there is one.

    settings: of the training script, where the file holds them; they tell pixels from features.
    """
    if not any(name.startswith("decoder_") for name in loaded.tensors):
        return loaded
    predicts, said = kind_of(settings)
    heads, norm_pix_loss = number_in(settings, HEADS_OF_DECODER), settings.get(OF_MAE)
    facts = DecoderFacts(
        decoder=DecoderConfig(decoder_heads=heads or DECODER_HEADS),
        predicts=predicts,
        norm_pix_loss=norm_pix_loss if isinstance(norm_pix_loss, bool) else None,
    )
    granted = [*([] if heads else [f"{DECODER_HEADS} heads"]), *([] if said else [predicts])]
    return with_decoder(loaded, lambda: from_mae(loaded, loaded.tensors, facts), granted)


def kind_of(settings: dict[str, Any]) -> tuple[Predicts, bool]:
    """What a decoder in MAE's names predicts, and whether the settings say so."""
    features = settings.keys() >= OF_PCAE and OF_MAE not in settings
    return ("features" if features else "pixels"), features or OF_MAE in settings


def with_decoder(
    loaded: Loaded, take: Callable[[], TrainedDecoder], granted: Iterable[str] = (), name: str = "decoder"
) -> Loaded:
    """The weights with the decoder that `take` reads, which is none of the encoder's tensors then.

    granted: what of it was taken for granted, in words. Where it cannot be read, the remarks say why.
    """
    try:
        decoder = take()
        check_decoder(decoder, loaded)
    except (TypeError, IndexError, KeyError, AttributeError, RuntimeError, ValueError) as error:
        reason = f"it lacks {error.args[0]}" if isinstance(error, KeyError) and error.args else reason_of(error)
        return replace(loaded, remarks=(*loaded.remarks, f"{name} left out: {reason}"))
    tensors = {name: value for name, value in loaded.tensors.items() if group_of(name) != "decoder"}
    words = f"decoder of {size(asdict(decoder.facts.decoder))}, predicts {decoder.facts.predicts}"
    words += f"; taken for granted: {', '.join(granted)}" if granted else ""
    return replace(loaded, tensors=tensors, decoder=decoder, remarks=(*loaded.remarks, words))


def check_decoder(decoder: TrainedDecoder, loaded: Loaded) -> None:
    """Raise ValueError or RuntimeError when the tensors fit neither what is said of them nor the encoder."""
    width = len(loaded.tensors[EMBEDDING])
    if decoder.in_dim != width:
        raise ValueError(f"it takes tokens of width {decoder.in_dim}, the encoder has {width}")
    if decoder.facts.predicts == "pixels":
        check_pixels(decoder.out_dim, loaded)
    with torch.device("meta"):
        build_decoder(decoder, (1, 1))


def check_pixels(out_dim: int, loaded: Loaded) -> None:
    """Raise ValueError unless as many values are predicted as a patch has."""
    values = loaded.tensors[EMBEDDING][0].numel()
    if out_dim != values:
        raise ValueError(f"it predicts {out_dim} values, a patch has {values}")


def read_ours(path: Path) -> TrainedDecoder:
    """A decoder that `save_decoder` wrote. Raises ValueError, KeyError or TypeError when it is damaged or lies."""
    tensors, header = read(path)
    check_values(DecoderConfig, header["decoder"], str(path))
    facts = TypeAdapter(DecoderFacts).validate_python(header)
    if facts.decoder.decoder_depth is None:
        raise ValueError(f"{path} does not say its decoder_depth")
    return TrainedDecoder(tensors=tensors, facts=facts)


def from_mae(loaded: Loaded, tensors: dict[str, Tensor], facts: DecoderFacts) -> TrainedDecoder:
    """A decoder in MAE's names; width and depth are read off its tensors. Raises ValueError or KeyError."""
    check_positions(tensors[POSITIONS], loaded.grid)
    ours = {
        own + name.removeprefix(theirs): value
        for name, value in tensors.items()
        for theirs, own in NAMES.items()
        if name.startswith(theirs)
    }
    if facts.predicts == "pixels":
        check_pixels(len(ours["head.weight"]), loaded)
        channels, height, width = loaded.tensors[EMBEDDING].shape[1:]
        for name in ("head.weight", "head.bias"):
            ours[name] = channels_first(ours[name], channels, (height, width))
    config = replace(
        facts.decoder,
        decoder_width=ours["mask_token"].shape[-1],
        decoder_depth=count_blocks(ours),
    )
    return TrainedDecoder(tensors=ours, facts=replace(facts, decoder=config))


def check_positions(table: Tensor, grid: Grid) -> None:
    """Raise ValueError unless the positions are those that our decoder computes, and zero at the class token."""
    expected = mae_positions(grid, table.shape[-1])
    if table.shape != expected.shape:
        raise ValueError(
            f"{POSITIONS} is {tuple(table.shape)}, a grid of {grid[0]} x {grid[1]} has {expected.shape[1]}"
        )
    if not torch.allclose(table.float(), expected, rtol=0, atol=NEAR):
        raise ValueError(f"{POSITIONS} is not sine-cosine, and others are not computed here")


def mae_positions(grid: Grid, width: int) -> Tensor:
    """The positions as MAE's files have them: zero at the class token, then the grid's."""
    return torch.cat([torch.zeros(1, width), sincos_positions(grid, width)])[None]


def channels_first(values: Tensor, channels: int, patch_size: tuple[int, int]) -> Tensor:
    """The head's rows in our order of a patch's values (channel, row, column), from MAE's (row, column, channel)."""
    return values.unflatten(0, (*patch_size, channels)).movedim(2, 0).flatten(0, 2)


def channels_last(values: Tensor, channels: int, patch_size: tuple[int, int]) -> Tensor:
    """The head's rows in MAE's order, from ours."""
    return values.unflatten(0, (channels, *patch_size)).movedim(0, 2).flatten(0, 2)


def fit_decoder(decoder: Decoder, loaded: Loaded, predicts: Predicts) -> list[str]:
    """Put what fits of the loaded decoder into one that predicts `predicts`; returns what became of it, in lines.

    All of it where sizes and predictions agree; all but the head, which stays as it is, where the predictions are
    of another kind or width; nothing where sizes differ. The norms take the epsilon that the tensors are for.
    """
    theirs = loaded.decoder
    if theirs is None:
        return [f"decoder: none in {loaded.source} that can be taken; it starts as initialised"]
    own, said = sizes_of(decoder), asdict(theirs.facts.decoder)
    flags = [f"--{name.replace('_', '-')} {said[name]}" for name in own if own[name] != said[name]]
    if flags:
        both = f"{size(said)} in the weights, {size(own)} here"
        return [f"decoder: {both}: nothing of it is taken; {' '.join(flags)} takes it"]
    same = theirs.facts.predicts == predicts and theirs.out_dim == decoder.head.out_features
    taken = {name: value for name, value in theirs.tensors.items() if same or not name.startswith("head.")}
    decoder.load_state_dict(taken, strict=False)
    set_norm_eps(decoder, theirs.facts.norm_eps)
    lines = [f"decoder: {len(taken)} of {len(decoder.state_dict())} tensors matched, {size(said)}"]
    if not same:
        lines.append(
            f"decoder: its head predicts {theirs.out_dim} values of {theirs.facts.predicts}, here are "
            f"{decoder.head.out_features} of {predicts}: the head is left as initialised"
        )
    return lines


def sizes_of(decoder: Decoder) -> dict[str, int]:
    """Width, depth and heads, by the names of their settings."""
    block = decoder.blocks[0]
    assert isinstance(block, Block) and isinstance(block.attn, Attention)
    return {
        "decoder_width": decoder.adapter.out_features,
        "decoder_depth": len(decoder.blocks),
        "decoder_heads": block.attn.num_heads,
    }


def size(sizes: dict[str, int]) -> str:
    """Width, depth and heads in words."""
    return f"{sizes['decoder_width']} x {sizes['decoder_depth']} with {sizes['decoder_heads']} heads"
