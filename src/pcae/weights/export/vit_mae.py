"""Models as folders that transformers' ViTMAEForPreTraining loads, decoder included."""

from math import prod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pcae.model.pretrained import Pretrained, TrainedDecoder, build_decoder
from pcae.model.tokens import count_visible, gather, patchify, split
from pcae.weights.decoders import channels_first
from pcae.weights.export.deployed import Answer
from pcae.weights.export.hugging_face import (
    Transformers,
    describe,
    open_theirs,
    preprocessing,
    write_folder,
)
from pcae.weights.export.mae import tensors_of_decoder
from pcae.weights.export.parity import Reference, Reopened
from pcae.weights.names import DECODER, in_their_names

MASK_RATIO = 0.75
"""MAE's, at which predictions are compared."""


def decoder_of(model: Pretrained) -> TrainedDecoder:
    """The decoder, which `check` has seen."""
    assert model.decoder is not None
    return model.decoder


def configuration(model: Pretrained) -> dict[str, Any]:
    """transformers' configuration of encoder and decoder."""
    facts = decoder_of(model).facts
    return describe(model) | {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        "image_size": model.facts.encoder.image_size[0],
        "decoder_hidden_size": facts.decoder.decoder_width,
        "decoder_num_hidden_layers": facts.decoder.decoder_depth,
        "decoder_num_attention_heads": facts.decoder.decoder_heads,
        "decoder_intermediate_size": 4 * facts.decoder.decoder_width,
        "mask_ratio": MASK_RATIO,
        "norm_pix_loss": facts.norm_pix_loss is not False,  # MAE's, where nobody says
    }


def fixed_masks(batch: int, n_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, and the visible and hidden ids that it makes: the same at every call, ascending as transformers sorts."""
    n_visible = count_visible(n_tokens, MASK_RATIO)
    noise = torch.rand(batch, n_tokens, generator=torch.Generator().manual_seed(0))
    visible_ids, hidden_ids = split(noise, n_visible)
    in_order = torch.arange(n_tokens).expand(batch, -1) / n_tokens
    return in_order.scatter_add(1, hidden_ids, torch.ones(batch, n_tokens)), visible_ids, hidden_ids


def in_rows(
    tokens: Float[Tensor, "batch tokens dim"], predictions: Float[Tensor, "batch hidden values"]
) -> Float[Tensor, "batch all"]:
    """Both in one row an image."""
    return torch.cat([tokens.flatten(1), predictions.flatten(1)], dim=1)


class TransformersMAE(Transformers):
    """A folder for transformers' ViTMAE, with the decoder."""

    tolerance = 1e-4

    def check(self, model: Pretrained) -> None:
        """Raise ValueError, naming it, for what transformers' ViTMAE does not have."""
        super().check(model)
        decoder, (height, width) = model.decoder, model.facts.encoder.image_size
        if decoder is None or decoder.facts.predicts != "pixels":
            has = "no decoder that can be read" if decoder is None else "one that predicts features"
            raise ValueError(f"--to vitmae needs a decoder that predicts pixels, the weights have {has}; use --to hf")
        if model.facts.classes is not None:
            raise ValueError("transformers' ViTMAE cannot hold a classifier; use --to hf")
        if height != width:
            raise ValueError(f"transformers' ViTMAE takes square images, not {height} x {width}; use --to hf")
        epsilon = describe(model)["layer_norm_eps"]
        if decoder.facts.norm_eps != epsilon:
            raise ValueError(
                f"transformers' ViTMAE has one epsilon for all norms, the encoder has {epsilon:g} and the decoder "
                f"{decoder.facts.norm_eps:g}; use --to hf, without the decoder"
            )

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write tensors, configuration and what the images are normalised with."""
        encoder = in_their_names(model.encoder.vit.state_dict(), "vit.")
        decoder = in_their_names(tensors_of_decoder(model, decoder_of(model)), DECODER)
        write_folder(place, encoder | decoder, configuration(model), preprocessing(model))

    def reference(self, model: Pretrained, drop_ratio: float) -> Reference:
        """PyTorch's tokens of visible patches and predictions of hidden ones, in one row an image."""
        encoder, grid = model.encoder, model.encoder.grid
        decoder = build_decoder(decoder_of(model), grid)

        def answer(images: Tensor) -> Answer:
            patches = patchify(model.normalise(images), encoder.patch_size)
            _, visible_ids, hidden_ids = fixed_masks(*patches.shape[:2])
            seen = encoder(gather(patches, visible_ids), visible_ids, grid)
            predictions = decoder(seen.prefix, seen.tokens, visible_ids, hidden_ids, grid)
            return Answer(in_rows(torch.cat([seen.prefix, seen.tokens], dim=1), predictions))

        return answer

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The folder, loaded and run by transformers, which must find every tensor that it needs."""
        import transformers

        theirs, processor = open_theirs(transformers.ViTMAEForPreTraining, place, {})
        patch_size, channels = model.encoder.patch_size, model.encoder.channels

        def answer(images: Tensor) -> tuple[Tensor, ...]:
            inputs = processor(images=images, input_data_format="channels_first", return_tensors="pt")
            noise, _, hidden_ids = fixed_masks(len(images), prod(model.encoder.grid))
            seen = theirs.vit(pixel_values=inputs["pixel_values"], noise=noise)
            predictions = theirs.decoder(seen.last_hidden_state, seen.ids_restore).logits
            ours = channels_first(predictions.movedim(-1, 0), channels, patch_size).movedim(0, -1)
            return (in_rows(seen.last_hidden_state, gather(ours, hidden_ids)),)

        return answer

    def answers(self, model: Pretrained) -> str:
        """What is compared, in words."""
        return "features and predictions"
