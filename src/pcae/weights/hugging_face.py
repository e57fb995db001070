"""Folders of Hugging Face's transformers with a Vision Transformer: read by hand, into timm's names."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from pcae.model.pretrained import DecoderFacts, PretrainedFacts, TrainedDecoder
from pcae.model.tokens import Grid, grid_of
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.values import check_values
from pcae.weights import beit, dinov3
from pcae.weights.decoders import from_mae, with_decoder
from pcae.weights.distilled import as_distilled
from pcae.weights.families import ACTIVATIONS, APART, CLASSIFIERS, check_settings, family_of
from pcae.weights.loaded import EMBEDDING, SEVERAL, Loaded, Network, check_embedding, class_names
from pcae.weights.names import DECODER, joined, renamed
from pcae.weights.reading import CONFIG, read_folder, read_json
from pcae.weights.said import check_depth, check_same, known_sizes, pair, side_of, statistics
from pcae.weights.structure import HIDDEN, check_names, options_of, read_off, with_one_class_position
from pcae.weights.wrappers import encoder_in

READERS = {"dinov3_vit": dinov3.of_transformers, "beit": beit.of_transformers}
"""What reads networks that are no plain Vision Transformers."""


def find_hugging_face(folder: Path) -> Loaded:
    """The encoder, and the classifier where there is one. Raises ValueError for what timm cannot compute."""
    said = read_json(folder / CONFIG)
    config = family_of(said, folder)
    taken = encoder_in(read_folder(folder), str(folder))
    marks = APART.get(config["model_type"], (DECODER, "classifier."))
    apart = {
        name: value for name, value in taken.beside.items() if name.startswith(marks) and name not in taken.tensors
    }
    network = READERS.get(config["model_type"], plain_network)(taken.tensors | apart, config, folder)
    mean, std, remarks = statistics(folder, config["num_channels"])
    classes = class_names(network.tensors, config.get("id2label"))
    facts = PretrainedFacts(
        encoder=network.encoder,
        mean=mean,
        std=std,
        classes=classes,
        global_pool=network.global_pool,
        norm_eps=float(config["layer_norm_eps"]),
        multi_label=classes is not None and said.get("problem_type") == SEVERAL,
    )
    left = replace(taken, beside={name: value for name, value in taken.beside.items() if name not in apart})
    source = f"{folder}, Hugging Face's {said['model_type']}"
    loaded = Loaded(tensors=network.tensors, facts=facts, source=source, remarks=(*left.remarks, *remarks))
    if config["model_type"] == "vit_mae" and any(name.startswith(DECODER) for name in network.tensors):
        return with_decoder(loaded, lambda: decoder_of(config, loaded))
    return loaded


def plain_network(tensors: dict[str, Tensor], config: dict[str, Any], folder: Path) -> Network:
    """A plain Vision Transformer, or DeiT's with two classifiers. Raises ValueError for what is none."""
    check_settings(config, folder)
    tensors = shaped(joined({renamed(name): value for name, value in tensors.items()}), config)
    check_embedding(tensors, str(folder))
    check_names(tensors, str(folder))
    check_depth(config, tensors, folder)
    config = config | {"image_size": config["image_size"] or side_of(config)}
    grid = grid_of(pair(config["image_size"]), pair(config["patch_size"]))
    tensors = with_one_class_position(tensors, prod(grid))
    encoder = encoder_config(config, tensors, grid, folder)
    return as_distilled(
        Network(tensors=tensors, encoder=encoder, global_pool="token" if "head.weight" in tensors else "")
    )


def shaped(tensors: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors as timm has them: positions and class token with axes for a batch, patches as a convolution's.

    A classifier of another kind than a linear layer on the class token is no `head` of ours.
    """
    found, kind = dict(tensors), config["model_type"]
    for name in {"cls_token", "pos_embed"} & found.keys():
        found[name] = found[name].reshape(1, -1, found[name].shape[-1])
    patches = found.get(EMBEDDING)
    if patches is not None and patches.ndim == 2:  # values of a patch in the order row, column, channel
        side = config["patch_size"]
        found[EMBEDDING] = patches.unflatten(1, (side, side, -1)).movedim(3, 1)
    return {with_head(name, CLASSIFIERS.get(kind, {})): value for name, value in found.items()}


def with_head(name: str, classifiers: Mapping[str, str]) -> str:
    """A tensor's name, in which a classifier of theirs is called as timm calls it."""
    first, dot, rest = name.partition(".")
    return classifiers.get(first, first) + dot + rest


def decoder_of(config: dict[str, Any], loaded: Loaded) -> TrainedDecoder:
    """The decoder of a ViTMAE. Raises ValueError or KeyError for one that ours cannot be."""
    theirs = {name: value for name, value in loaded.tensors.items() if name.startswith(DECODER)}
    tensors = joined({of_mae(name): value for name, value in theirs.items()})
    norm_pix_loss, heads = config["norm_pix_loss"], config["decoder_num_attention_heads"]
    facts = DecoderFacts(
        decoder=DecoderConfig(**check_values(DecoderConfig, {"decoder_heads": heads}, CONFIG)),
        predicts="pixels",
        norm_eps=float(config["layer_norm_eps"]),
        norm_pix_loss=norm_pix_loss if isinstance(norm_pix_loss, bool) else None,
    )
    decoder = from_mae(loaded, tensors, facts)
    if decoder.depth != config["decoder_num_hidden_layers"]:
        raise ValueError(f"it has {decoder.depth} blocks, {CONFIG} says {config['decoder_num_hidden_layers']}")
    return decoder


def of_mae(name: str) -> str:
    """MAE's name of one of their decoder's tensors, as transformers 4 or 5 writes them."""
    name = name.removeprefix(DECODER).removeprefix("decoder_encoder.")
    return re.sub(r"^blocks\.", "decoder_blocks.", renamed(re.sub(r"^(decoder_)?layers?\.", "layers.", name)))


def encoder_config(config: dict[str, Any], tensors: dict[str, Tensor], grid: Grid, folder: Path) -> EncoderConfig:
    """Their sizes in our words. Raises ValueError where they are not those of the tensors."""
    image_size, heads = known_sizes(config, folder)
    activation = ACTIVATIONS[config["hidden_act"]]
    options = options_of(tensors, grid, str(folder)) | ({} if activation == "gelu" else {"act_layer": activation})
    found = read_off(tensors, image_size, options, heads)
    check_same(config, found, tensors[HIDDEN], folder, {"qkv_bias": "blocks.0.attn.qkv.bias" in tensors})
    return found
