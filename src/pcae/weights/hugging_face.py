"""Folders of Hugging Face's transformers with a ViT or ViTMAE: read by hand, into timm's names."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcae.model.pretrained import DecoderFacts, PretrainedFacts, TrainedDecoder
from pcae.settings.network import DecoderConfig, EncoderConfig
from pcae.settings.values import check_values
from pcae.weights.decoders import from_mae, with_decoder
from pcae.weights.loaded import Loaded, check_embedding, class_names, count_blocks
from pcae.weights.matching import group_of
from pcae.weights.reading import read_json, read_safetensors, read_torch

CONFIG, PREPROCESSING = "config.json", "preprocessor_config.json"
DECODER = "decoder."
"""How the names of ViTMAE's decoder begin."""
DEFAULTS = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
    "decoder_num_attention_heads": 16,
    "decoder_num_hidden_layers": 8,
    "norm_pix_loss": False,
}
"""What a config.json that leaves a setting out stands for."""
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


def find_hugging_face(folder: Path) -> Loaded:
    """The encoder, and the classifier where there is one. Raises ValueError for what a plain ViT cannot compute."""
    config = DEFAULTS | read_json(folder / CONFIG)
    check_config(config, folder)
    tensors = joined({renamed(name): value for name, value in read_folder(folder).items()})
    check_embedding(tensors, str(folder))
    check_depth(config, tensors, folder)
    classes = class_names(tensors, config.get("id2label"))
    mean, std, remarks = statistics(folder, config["num_channels"])
    facts = PretrainedFacts(
        encoder=encoder_config(config, folder),
        mean=mean,
        std=std,
        classes=classes,
        global_pool="" if classes is None else "token",
        norm_eps=float(config["layer_norm_eps"]),
    )
    source = f"{folder}, Hugging Face's {config['model_type']}"
    loaded = Loaded(tensors=tensors, facts=facts, source=source, remarks=remarks)
    if config["model_type"] == "vit_mae" and any(name.startswith(DECODER) for name in tensors):
        return with_decoder(loaded, lambda: decoder_of(config, loaded))
    return loaded


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
    """MAE's name of one of their decoder's tensors; `renamed` does for the layers as transformers 5 writes them."""
    return renamed(name.removeprefix(DECODER).replace("decoder_layers.", "decoder_blocks."))


def check_config(config: dict[str, Any], folder: Path) -> None:
    """Raise ValueError, by name, for settings that timm's plain ViT does not have."""
    kind = config.get("model_type")
    if kind not in ("vit", "vit_mae"):
        hint = f"; a folder of timm's is timm:local-dir:{folder}" if "architecture" in config else ""
        raise ValueError(f"{folder} holds a model of type {kind!r}; only vit and vit_mae are read{hint}")
    wanted = {"hidden_act": "gelu", "qkv_bias": True, "intermediate_size": 4 * config["hidden_size"]}
    for name, value in wanted.items():
        if config[name] != value:
            raise ValueError(f"{folder}: {name} is {config[name]!r}; only {value!r} is read")


def check_depth(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Raise ValueError when there are not the blocks that the settings say: a million would be built first."""
    found, said = count_blocks(tensors), config["num_hidden_layers"]
    if found != said:
        raise ValueError(f"{folder}: num_hidden_layers is {said!r}, but the weights have {found} blocks")


def encoder_config(config: dict[str, Any], folder: Path) -> EncoderConfig:
    """Their sizes in our words."""
    image, patch = (pair(config[name]) for name in ("image_size", "patch_size"))
    if patch[0] != patch[1]:
        raise ValueError(f"{folder}: patch_size is {list(patch)}; only square patches are read")
    sizes = {
        "model": "vit_base_patch16_224",
        "image_size": image,
        "patch_size": patch[0],
        "channels": config["num_channels"],
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
    }
    return EncoderConfig(**check_values(EncoderConfig, sizes, str(folder / CONFIG)))


def pair(side: Any) -> tuple[Any, Any]:
    """Height and width, of a square where one number stands for both."""
    return (side[0], side[1]) if isinstance(side, list) and len(side) == 2 else (side, side)


def read_folder(folder: Path) -> dict[str, Tensor]:
    """All tensors: of one file, or of several by their index. Raises ValueError when there are none."""
    if (folder / "model.safetensors").is_file():
        return read_safetensors(folder / "model.safetensors")[0]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = read_json(index).get("weight_map")
        if not isinstance(files, dict):
            raise ValueError(f"{index} has no weight_map, which says where each tensor is")
        odd = [name for name in files.values() if not isinstance(name, str) or Path(name).name != name]
        if odd:
            raise ValueError(f"{index} names {odd[0]!r}, which is no file of the folder")
        parts = [read_safetensors(folder / name)[0] for name in sorted(set(files.values()))]
        return {name: value for part in parts for name, value in part.items()}
    if (folder / "pytorch_model.bin").is_file():
        return read_torch(folder / "pytorch_model.bin")[0]
    raise ValueError(f"{folder} has a {CONFIG} but no model.safetensors, its index, or pytorch_model.bin")


def renamed(name: str) -> str:
    """timm's name of one of their tensors; queries, keys and values stay apart, the decoder stays as it is."""
    name = name.removeprefix("vit.")
    if not name.startswith(DECODER):
        for theirs, ours in NAMES.items():
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


def statistics(folder: Path, channels: int) -> tuple[list[float], list[float], tuple[str, ...]]:
    """mean and std that pixels are normalised with, and what was taken for granted."""
    path = folder / PREPROCESSING
    said = read_json(path) if path.is_file() else {}
    if said.get("do_rescale") is False or abs(said.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3:
        raise ValueError(f"{path} does not scale pixels to [0, 1]; only do_rescale with rescale_factor 1/255 is read")
    if said.get("do_normalize") is False:
        return [0.0] * channels, [1.0] * channels, ()
    if said.get("image_mean") is not None and said.get("image_std") is not None:
        return said["image_mean"], said["image_std"], ()
    return [0.5] * channels, [0.5] * channels, (f"taken for granted: mean and std 0.5, as {path.name} names none",)
