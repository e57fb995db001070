"""Models as folders that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from pcae.model.architecture import parts_of
from pcae.model.backbones import options_of
from pcae.model.pretrained import Pretrained, build_model
from pcae.weights.export.format import Format
from pcae.weights.export.parity import Reopened
from pcae.weights.loaded import SEVERAL
from pcae.weights.timm_models import sizes_of

CONFIG, TENSORS = "config.json", "model.safetensors"
"""The files of such a folder, and of Hugging Face's."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that says, as timm and transformers want it, that its tensors are PyTorch's."""
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata={"format": "pt"})
    except SafetensorError as error:  # its only reason here is the disk
        raise OSError(str(error)) from error


def describe(model: Pretrained) -> dict[str, Any]:
    """timm's description of a pretrained model."""
    facts, vit = model.facts, model.encoder.vit
    channels, (height, width) = facts.encoder.channels or 3, facts.encoder.image_size
    sizes, (name, options) = sizes_of(model.encoder), parts_of(facts.encoder.model)
    arguments = {"img_size": [height, width], "in_chans": channels, "patch_size": sizes["patch_size"]}
    arguments |= {"embed_dim": sizes["width"], "depth": sizes["depth"]}
    heads = sizes.get("heads", facts.encoder.heads)
    arguments |= {"num_heads": heads} if heads is not None else {}  # else the architecture's own
    said: dict[str, Any] = {
        "input_size": [channels, height, width],
        "fixed_input_size": True,
        "mean": facts.mean,
        "std": facts.std,
        "crop_pct": facts.crop_pct,
        "interpolation": "bicubic",
        "num_classes": vit.num_classes,
        "first_conv": model.encoder.backbone.first_layer,
        "classifier": "head",
    }
    named: dict[str, Any] = {"label_names": facts.classes} if facts.classes is not None else {}
    named |= {"problem_type": SEVERAL} if facts.multi_label else {}
    return {
        "architecture": name.split(".", maxsplit=1)[0],  # without the tag of timm's own weights
        "num_classes": vit.num_classes,
        "num_features": vit.num_features,
        "global_pool": facts.global_pool,
        **named,
        "model_args": options_of(name, options | arguments | {"global_pool": facts.global_pool}),
        "pretrained_cfg": said,
    }


class TimmFolder(Format):
    """A folder for timm."""

    def remarks(self, model: Pretrained) -> list[str]:
        """What timm will compute otherwise: it has no setting for the norms' epsilon."""
        with torch.device("meta"):
            twin = build_model(replace(model.facts, norm_eps=None)).encoder.vit
        ours, theirs = (
            next((part.eps for part in vit.modules() if isinstance(part, nn.LayerNorm)), None)
            for vit in (model.encoder.vit, twin)
        )
        if ours == theirs:
            return []
        return [f"timm computes the norms with epsilon {theirs:g}, the weights are for {ours:g}"]

    def write(self, model: Pretrained, drop_ratio: float, place: Path) -> None:
        """Write the tensors, and the architecture with its sizes, classes and statistics."""
        save_tensors(place / TENSORS, model.encoder.vit.state_dict())
        (place / CONFIG).write_text(json.dumps(describe(model), indent=2), encoding="utf-8")

    def reopen(self, model: Pretrained, place: Path) -> Reopened:
        """The folder, loaded and run by plain timm."""
        plain = timm.create_model(f"local-dir:{place}", pretrained=True).eval()
        answer: Any = plain.forward_features if model.facts.classes is None else plain
        return lambda images: (answer(model.normalise(images)),)
