"""Models as folders that transformers' ViTModel and ViTForImageClassification load."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pcae.model.backbones import ViT
from pcae.model.encoder import Encoder
from pcae.model.pretrained import Pretrained, build_vit
from pcae.weights.export.format import Format
from pcae.weights.export.graphs import quiet
from pcae.weights.export.parity import Reopened
from pcae.weights.export.timm_folder import CONFIG, TENSORS, save_tensors
from pcae.weights.loaded import SEVERAL
from pcae.weights.names import in_their_names
from pcae.weights.said import PREPROCESSING
from pcae.weights.timm_models import sizes_of

FIRST = "vit_base_patch16_224"
"""timm's name of the first Vision Transformer, whose kind MAE's and transformers' are."""
WORDS = {
    "reg_token": "register tokens",
    "norm_pre.": "a norm before the blocks",
    "fc_norm.": "average pooling with its own norm",
    ".ls1.": "layer scale",
    ".q_norm.": "norms of queries and keys",
    "attn_pool.": "attention pooling",
}
"""What tensors that transformers' ViT has no place for belong to."""
REMEDY = "use --to timm, onnx or safetensors"
BICUBIC = 3
"""Pillow's number for the way in which images are resized."""


def check_kind(model: Pretrained, whose: str, odd: list[str], pools: tuple[str, ...]) -> None:
    """Raise ValueError for a model of another kind than the first Vision Transformer, by what is `odd` about it.

    whose: network it is to go into. pools: what may stand before the classifier there.
    """
    facts = model.facts
    if facts.classes is not None and facts.global_pool not in pools:
        odd = [*odd, f"a classifier with global_pool {facts.global_pool!r}"]
    if odd:
        raise ValueError(f"{whose} cannot hold {', '.join(odd)}; {REMEDY}")
    config = replace(facts.encoder, model=FIRST, **sizes_of(model.encoder))
    with torch.device("meta"):
        first = build_vit(config, len(facts.classes or ()), facts.global_pool, None)
    differs = model.encoder.vit.state_dict().keys() ^ first.state_dict().keys()
    if differs:
        raise ValueError(f"{whose} and the model do not both have {min(differs)}; {REMEDY}")


def oddities(model: Pretrained) -> list[str]:
    """What the first Vision Transformer and its followers, such as MAE's, do not have, in words."""
    vit = model.encoder.vit
    odd = [what for part, what in WORDS.items() if any(part in name for name in vit.state_dict())]
    return odd + [what for what, there in unnamed(vit).items() if there]


def unnamed(vit: ViT) -> dict[str, bool]:
    """What no tensor's name tells: whether the model has it."""
    parts = [*vit.modules()]
    return {
        "a model without class token": not Encoder(vit).has_class_token,
        "positions of patches alone": getattr(vit, "no_embed_class", False),
        "blocks of another kind": any(type(block) is not Block for block in vit.blocks),
        "another activation than GELU": {type(part.act) for part in parts if hasattr(part, "act")} != {nn.GELU},
        "norms of two epsilons": len({part.eps for part in parts if isinstance(part, nn.LayerNorm)}) != 1,
    }


def write_folder(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any], images: dict[str, Any]) -> None:
    """Write a folder that transformers loads. images: how they become the model's input."""
    save_tensors(folder / TENSORS, tensors)
    for name, content in ((CONFIG, config), (PREPROCESSING, images)):
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def describe(model: Pretrained) -> dict[str, Any]:
    """transformers' configuration of the model."""
    facts, vit, sizes = model.facts, model.encoder.vit, sizes_of(model.encoder)
    assert isinstance(vit.norm, nn.LayerNorm)
    block = vit.blocks[0]
    assert isinstance(block, Block) and isinstance(block.mlp.fc1, nn.Linear)
    classes = dict(enumerate(facts.classes or []))
    labels = {"id2label": classes, "label2id": {name: place for place, name in classes.items()}} if classes else {}
    labels |= {"problem_type": SEVERAL} if facts.multi_label else {}
    return {
        "architectures": ["ViTForImageClassification" if classes else "ViTModel"],
        "model_type": "vit",
        "hidden_size": sizes["width"],
        "num_hidden_layers": sizes["depth"],
        "num_attention_heads": sizes["heads"],
        "intermediate_size": block.mlp.fc1.out_features,
        "hidden_act": "gelu",
        "layer_norm_eps": vit.norm.eps,
        "image_size": list(facts.encoder.image_size),
        "patch_size": sizes["patch_size"],
        "num_channels": facts.encoder.channels or 3,
        "qkv_bias": True,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        **labels,
    }


def preprocessing(model: Pretrained) -> dict[str, Any]:
    """transformers' description of how images become the model's input."""
    height, width = model.facts.encoder.image_size
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": model.facts.mean,
        "image_std": model.facts.std,
    }


def open_theirs(kind: Any, folder: Path, options: dict[str, Any]) -> tuple[Any, Any]:
    """A model of transformers', in evaluation mode, and its processor. Raises ValueError when names differ."""
    import transformers

    with quiet():
        theirs, found = kind.from_pretrained(folder, output_loading_info=True, **options)
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
    lost = {*found["missing_keys"], *found["unexpected_keys"]}
    if lost:
        raise ValueError(f"transformers {transformers.__version__} and pcae disagree on the names {sorted(lost)[:3]}")
    return theirs.eval(), processor


class Transformers(Format):
    """A folder for transformers' ViT."""

    packages = ("transformers",)

    def check(self, model: Pretrained) -> None:
        """Raise ValueError, naming it, for what transformers' ViT cannot compute."""
        check_kind(model, "transformers' ViT", oddities(model), ("token",))

    def remarks(self, model: Pretrained) -> list[str]:
        """What transformers' processor does otherwise than pcae with images that are not of the model's shape."""
        return [
            "transformers' processor stretches images to height x width; pcae resizes them to cover it and cuts out "
            f"the centre{f' ({model.facts.crop_pct:g} of it)' if model.facts.crop_pct < 1 else ''}"
        ]

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write tensors, configuration and what the images are normalised with."""
        start = "" if model.facts.classes is None else "vit."
        tensors = in_their_names(model.encoder.vit.state_dict(), start)
        write_folder(place, tensors, describe(model), preprocessing(model))

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The folder, loaded and run by transformers, which must find every tensor that it needs."""
        import transformers

        classifies = model.facts.classes is not None
        kind = transformers.ViTForImageClassification if classifies else transformers.ViTModel
        theirs, processor = open_theirs(kind, place, {} if classifies else {"add_pooling_layer": False})

        def answer(images: Tensor) -> tuple[Tensor, ...]:
            inputs = processor(images=images, input_data_format="channels_first", return_tensors="pt")
            output = theirs(pixel_values=inputs["pixel_values"])
            return (output.logits if classifies else output.last_hidden_state,)

        return answer
