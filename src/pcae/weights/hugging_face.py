"""Folders of Hugging Face's transformers with a ViT or ViTMAE: read by hand, into timm's names."""

import re
from dataclasses import replace
from math import isqrt, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcae.model.pretrained import DecoderFacts, PretrainedFacts, TrainedDecoder
from pcae.model.tokens import Grid, grid_of
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.values import check_values
from pcae.weights.decoders import from_mae, with_decoder
from pcae.weights.families import ACTIVATIONS, CLASSIFIERS, check_settings, family_of
from pcae.weights.loaded import EMBEDDING, SEVERAL, Loaded, check_embedding, class_names, count_blocks
from pcae.weights.matching import group_of
from pcae.weights.reading import CONFIG, read_folder, read_json
from pcae.weights.structure import HIDDEN, check_names, options_of, read_off, with_one_class_position
from pcae.weights.wrappers import encoder_in

PREPROCESSING, PROCESSOR = "preprocessor_config.json", "processor_config.json"
DECODER = "decoder."
"""How the names of ViTMAE's decoder begin."""
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


def find_hugging_face(folder: Path) -> Loaded:
    """The encoder, and the classifier where there is one. Raises ValueError for what a plain ViT cannot compute."""
    said = read_json(folder / CONFIG)
    config = family_of(said, folder)
    check_settings(config, folder)
    taken = encoder_in(read_folder(folder), str(folder))
    apart = {name: value for name, value in taken.beside.items() if name.startswith((DECODER, "classifier."))}
    tensors = joined({renamed(name): value for name, value in (taken.tensors | apart).items()})
    tensors = shaped(tensors, config)
    check_embedding(tensors, str(folder))
    check_names(tensors, str(folder))
    check_depth(config, tensors, folder)
    config |= {"image_size": config["image_size"] or side_of(config)}
    grid = grid_of(pair(config["image_size"]), pair(config["patch_size"]))
    tensors = with_one_class_position(tensors, prod(grid))
    mean, std, remarks = statistics(folder, config["num_channels"])
    classes = class_names(tensors, config.get("id2label"))
    facts = PretrainedFacts(
        encoder=encoder_config(config, tensors, grid, folder),
        mean=mean,
        std=std,
        classes=classes,
        global_pool="" if classes is None else "token",
        norm_eps=float(config["layer_norm_eps"]),
        multi_label=classes is not None and said.get("problem_type") == SEVERAL,
    )
    left = replace(taken, beside={name: value for name, value in taken.beside.items() if name not in apart})
    source = f"{folder}, Hugging Face's {said['model_type']}"
    loaded = Loaded(tensors=tensors, facts=facts, source=source, remarks=(*left.remarks, *remarks))
    if config["model_type"] == "vit_mae" and any(name.startswith(DECODER) for name in tensors):
        return with_decoder(loaded, lambda: decoder_of(config, loaded))
    return loaded


def side_of(config: dict[str, Any]) -> int:
    """Pixels of a side where the number of patches stands for it."""
    return isqrt(config["num_patches"]) * config["patch_size"]


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
    if kind in CLASSIFIERS:
        found = {
            name.replace("classifier.", "head.") if name.startswith("classifier.") else name: value
            for name, value in found.items()
        }
    return found


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


def check_depth(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Raise ValueError when there are not the blocks that the settings say: a million would be built first."""
    if pair(config["patch_size"])[0] != pair(config["patch_size"])[1]:
        raise ValueError(f"{folder}: patch_size is {config['patch_size']}; only square patches are read")
    found, said = count_blocks(tensors), config["num_hidden_layers"]
    if found != said:
        raise ValueError(f"{folder}: num_hidden_layers is {said!r}, but the weights have {found} blocks")


def encoder_config(config: dict[str, Any], tensors: dict[str, Tensor], grid: Grid, folder: Path) -> EncoderConfig:
    """Their sizes in our words. Raises ValueError where they are not those of the tensors."""
    sizes = {"image_size": pair(config["image_size"]), "heads": config["num_attention_heads"]}
    known = check_values(EncoderConfig, sizes, str(folder / CONFIG))
    activation = ACTIVATIONS[config["hidden_act"]]
    options = options_of(tensors, grid, str(folder)) | ({} if activation == "gelu" else {"act_layer": activation})
    found = read_off(tensors, known["image_size"], options, known["heads"])
    check_same(config, found, tensors, folder)
    return found


def check_same(config: dict[str, Any], found: EncoderConfig, tensors: dict[str, Tensor], folder: Path) -> None:
    """Raise ValueError where settings and tensors do not say the same: one of them is of another model."""
    hidden = config.get("intermediate_size") or int(config["hidden_size"] * config["mlp_ratio"])
    said = {
        "patch_size": (pair(config["patch_size"])[0], found.patch_size),
        "num_channels": (config["num_channels"], found.channels),
        "hidden_size": (config["hidden_size"], found.width),
        "intermediate_size": (hidden, tensors[HIDDEN].shape[0]),
        "qkv_bias": (config["qkv_bias"], "blocks.0.attn.qkv.bias" in tensors),
    }
    for name, (theirs, there) in said.items():
        if theirs != there:
            raise ValueError(f"{folder}: {name} is {theirs!r}, but the weights are for {there}")


def pair(side: Any) -> tuple[Any, Any]:
    """Height and width, of a square where one number stands for both."""
    return (side[0], side[1]) if isinstance(side, list) and len(side) == 2 else (side, side)


def renamed(name: str) -> str:
    """timm's name of one of their tensors; queries, keys and values stay apart, decoder and heads as they are."""
    if name.startswith((DECODER, "head.", "pooler.", "classifier.")):
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


def preprocessing(folder: Path) -> tuple[Path, dict[str, Any]]:
    """What is done to images, and the file that says it. As in transformers 5, one for images and texts comes first."""
    path, both = folder / PREPROCESSING, folder / PROCESSOR
    said = read_json(both).get("image_processor") if both.is_file() else None
    if isinstance(said, dict):
        return both, said
    return path, read_json(path) if path.is_file() else {}


def statistics(folder: Path, channels: int) -> tuple[list[float], list[float], tuple[str, ...]]:
    """mean and std that pixels are normalised with, and what was taken for granted."""
    path, said = preprocessing(folder)
    if said.get("do_rescale") is False or abs(said.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3:
        raise ValueError(f"{path} does not scale pixels to [0, 1]; only do_rescale with rescale_factor 1/255 is read")
    if said.get("do_normalize") is False:
        return [0.0] * channels, [1.0] * channels, ()
    if said.get("image_mean") is not None and said.get("image_std") is not None:
        return said["image_mean"], said["image_std"], ()
    return [0.5] * channels, [0.5] * channels, (f"taken for granted: mean and std 0.5, as {path.name} names none",)
