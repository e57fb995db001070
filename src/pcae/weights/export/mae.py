"""Models as .pth files in the names of MAE's code and of the public PCAE code, with the decoder where they hold it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from pcae.model.pretrained import Pretrained, TrainedDecoder
from pcae.weights.decoders import (
    DECODER_HEADS,
    HEADS_OF_DECODER,
    NAMES,
    OF_MAE,
    POSITIONS,
    channels_last,
    mae_positions,
)
from pcae.weights.export.deployed import whole_answer
from pcae.weights.export.format import Format
from pcae.weights.export.hugging_face import WORDS, check_kind, oddities
from pcae.weights.export.parity import Reopened
from pcae.weights.files import fill
from pcae.weights.reading import read_torch
from pcae.weights.structure import usual_heads
from pcae.weights.timm_models import sizes_of
from pcae.weights.untyped_files import HEADS_OF_ENCODER, MEAN, STD, find_untyped

EPSILON = 1e-6
"""Of the norms in MAE's code."""


def unsaid_settings(model: Pretrained, decoder: TrainedDecoder | None) -> dict[str, Any]:
    """Attention heads, in the words of MAE's code, and mean and std of pixels: pcae reads them from a file, MAE's code
    does not."""
    heads = {HEADS_OF_ENCODER: sizes_of(model.encoder)["heads"], MEAN: model.facts.mean, STD: model.facts.std}
    return heads if decoder is None else heads | {HEADS_OF_DECODER: decoder.facts.decoder.decoder_heads}


def save(content: dict[str, Any], path: Path) -> None:
    """A file of torch.save's."""
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:  # its only reason here is the disk
        raise OSError(str(error)) from error


def tensors_of(model: Pretrained, decoder: TrainedDecoder | None) -> dict[str, Tensor]:
    """Encoder and decoder in MAE's names."""
    encoder = {name: value.detach().clone() for name, value in model.encoder.vit.state_dict().items()}
    if decoder is None:
        return encoder
    return encoder | tensors_of_decoder(model, decoder)


def tensors_of_decoder(model: Pretrained, decoder: TrainedDecoder) -> dict[str, Tensor]:
    """The decoder in MAE's names, positions included; pixels in MAE's order of a patch's values."""
    theirs = {POSITIONS: mae_positions(model.encoder.grid, decoder.width)}
    for name, value in decoder.tensors.items():
        start, own = next((start, own) for start, own in NAMES.items() if name.startswith(own))
        theirs[start + name.removeprefix(own)] = value
    if decoder.facts.predicts == "pixels":
        patch_size, channels = model.encoder.patch_size, model.encoder.channels
        for name in ("decoder_pred.weight", "decoder_pred.bias"):
            theirs[name] = channels_last(theirs[name], channels, patch_size)
    return theirs


def unsaid(model: Pretrained, decoder: TrainedDecoder | None) -> list[str]:
    """What MAE's code does not read from a file, where it is not what it takes for granted."""
    facts, sizes = model.facts, sizes_of(model.encoder)
    epsilons = {part.eps for part in model.encoder.vit.modules() if isinstance(part, nn.LayerNorm)}
    taken = {
        "heads of the encoder": (sizes["heads"], usual_heads(sizes["width"])),
        "mean": (list(facts.mean), list(IMAGENET_DEFAULT_MEAN)),
        "std": (list(facts.std), list(IMAGENET_DEFAULT_STD)),
        "epsilon of the norms": (*epsilons, EPSILON),
    }
    if decoder is not None:
        taken["heads of the decoder"] = (decoder.facts.decoder.decoder_heads, DECODER_HEADS)
        taken["epsilon of the decoder's norms"] = (decoder.facts.norm_eps, EPSILON)
    return [
        f"{what}: the weights are for {ours}, MAE's code takes {usual} if it is not told"
        for what, (ours, usual) in taken.items()
        if ours != usual
    ]


def same_tensors(decoder: TrainedDecoder | None, other: TrainedDecoder | None) -> bool:
    """Whether two decoders predict the same kind of thing by equal tensors, or neither is there."""
    if decoder is None or other is None:
        return decoder is other
    ours, theirs = decoder.tensors, other.tensors
    equal = ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
    return equal and decoder.facts.predicts == other.facts.predicts


class MAEFile(Format):
    """A file for MAE's code."""

    suffix = ".pth"

    def decoder(self, model: Pretrained) -> TrainedDecoder | None:
        """The decoder that goes into the file, which is one of pixels."""
        return model.decoder if model.decoder is not None and model.decoder.facts.predicts == "pixels" else None

    def check(self, model: Pretrained) -> None:
        """Raise ValueError, naming it, for what MAE's network does not have."""
        rows, columns = model.encoder.grid
        odd = [what for what in oddities(model) if what != WORDS["fc_norm."]]  # its fine-tuning has it
        if rows != columns:
            odd.append(f"a grid of {rows} x {columns} patches, which is no square")
        check_kind(model, "MAE's code", odd, ("token", "avg"))

    def remarks(self, model: Pretrained) -> list[str]:
        """What MAE's code has to be told, and what is left out."""
        decoder = self.decoder(model)
        lost = unsaid(model, decoder)
        if model.decoder is not None and decoder is None:
            lost.append("the decoder predicts features and is left out; --to pcae-code takes it")
        return lost

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write the encoder, and the decoder if it predicts pixels."""
        decoder = self.decoder(model)
        settings = unsaid_settings(model, decoder)
        if decoder is not None and decoder.facts.norm_pix_loss is not None:
            settings[OF_MAE] = decoder.facts.norm_pix_loss
        save({"model": tensors_of(model, decoder), "args": settings}, place)

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The file as pcae reads it, told what it does not say. Raises ValueError if its decoder is another."""
        tensors, settings = read_torch(place)
        loaded = find_untyped(tensors, place, settings)
        if not same_tensors(self.decoder(model), loaded.decoder):
            raise ValueError(f"the decoder is not read back as it was written: {'; '.join(loaded.remarks)}")
        again, _ = fill(replace(loaded, facts=replace(model.facts, norm_eps=EPSILON)))
        return lambda images: (whole_answer(again, images).output,)


class PCAEFile(MAEFile):
    """A file for the public PCAE code."""

    def decoder(self, model: Pretrained) -> TrainedDecoder | None:
        """The decoder that goes into the file."""
        return model.decoder

    def check(self, model: Pretrained) -> None:
        """Raise ValueError for what the public PCAE code does not have: its decoder predicts the width of a patch."""
        super().check(model)
        decoder, values = model.decoder, model.encoder.patch_values
        if decoder is None or decoder.facts.predicts != "features":
            has = "no decoder that can be read" if decoder is None else "one that predicts pixels"
            raise ValueError(
                f"--to pcae-code needs a decoder that predicts features, the weights have {has}; use --to mae"
            )
        if decoder.out_dim != values:
            raise ValueError(
                f"the public PCAE code predicts as many values as a patch has, {values}; this decoder predicts "
                f"{decoder.out_dim} features; use --to mae, without the decoder"
            )

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write student, decoder and, with the student's weights, the teacher, as that code's `--resume` has it."""
        decoder = model.decoder
        assert decoder is not None
        settings = unsaid_settings(model, decoder) | {
            "decoder_depth": decoder.depth,
            "decoder_embed_dim": decoder.width,
        }
        save({"model": tensors_of(model, decoder), "teacher": tensors_of(model, None), "args": settings}, place)
