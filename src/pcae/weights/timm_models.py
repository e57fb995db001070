"""timm's own pretrained models, by name: timm:NAME, timm:hf-hub:NAME, timm:local-dir:FOLDER."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.drop import DropPath
from timm.layers.patch_dropout import PatchDropout, PatchDropoutWithIndices
from torch import nn

from pcae.model.architecture import with_options
from pcae.model.backbones import ViT
from pcae.model.encoder import Encoder, check_known, plain_vit
from pcae.model.pretrained import PretrainedFacts, build_model
from pcae.settings.network import EncoderConfig
from pcae.weights.loaded import SEVERAL, Loaded, class_names
from pcae.weights.reading import CONFIG, data_only, read_folder, read_json, reason_of
from pcae.weights.structure import options_of
from pcae.weights.wrappers import encoder_in

START = "timm:"
"""What weights that timm knows begin with."""
NOT_ARGUMENTS = {
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
    "num_classes",
}
"""Arguments of timm's that open files or are said elsewhere."""
IDLE = (nn.Dropout, DropPath, PatchDropout, PatchDropoutWithIndices, nn.Identity)
"""Layers that compute nothing where nothing is trained."""
NO_MATTER = {
    *("training", "fused_attn", "grad_checkpointing", "inplace", "init_values", "drop_rate", "no_embed_class"),
    *("img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size", "output_fmt", "flatten", "attn_drop_p"),
    *("feat_shape", "head_init_scale", "aug_active", "shift_coords", "jitter_coords", "rescale_coords"),
}
"""What modules say of themselves that changes no result where nothing is trained, or is told by shapes and sizes."""


def find_timm(name: str) -> Loaded:
    """The pretrained model of that name, downloaded where it must be. Raises ValueError with the remedy."""
    if ":" not in name:
        check_known(name)  # name and family, before a download
        with torch.device("meta"):
            plain_vit(timm.create_model(name.partition(".")[0]), name)
    vit = plain_vit(open_pretrained(name), START + name)
    facts = describe(vit, name)
    facts = with_own_options(vit, facts) if ":" in name else facts
    check_same(vit, facts, name)
    folder = name.removeprefix("local-dir:")
    several = folder != name and read_json(Path(folder) / CONFIG).get("problem_type") == SEVERAL
    facts = replace(facts, multi_label=several and facts.classes is not None)
    return Loaded(tensors=dict(vit.state_dict()), facts=facts, source=START + name)


def find_timm_wrapper(folder: Path) -> Loaded:
    """What a folder of transformers' timm_wrapper holds: timm's name, its arguments and its tensors. Raises ValueError.

    Nothing is downloaded.
    """
    said, taken = read_json(folder / CONFIG), encoder_in(read_folder(folder), str(folder))
    architecture, arguments = said["architecture"], said.get("model_args") or {}
    odd = sorted(arguments.keys() & NOT_ARGUMENTS)
    if odd:
        raise ValueError(f"{folder}: model_args hold {odd[0]}, which is no size of a model")
    check_known(architecture)
    classes = len(taken.tensors["head.weight"]) if "head.weight" in taken.tensors else 0
    overlay = {"label_names": said.get("label_names"), **(said.get("pretrained_cfg") or {})}
    options = {"num_classes": classes, "pretrained_cfg_overlay": overlay, **arguments}
    vit = plain_vit(timm.create_model(architecture, pretrained=False, **options), architecture)
    vit.load_state_dict(taken.tensors)
    facts = with_own_options(vit, describe(vit, f"local-dir:{folder}"))
    check_same(vit, facts, f"local-dir:{folder}")
    source = f"{folder}, timm's {architecture} in Hugging Face's wrapper"
    return Loaded(tensors=dict(vit.state_dict()), facts=facts, source=source, remarks=taken.remarks)


def open_pretrained(name: str) -> nn.Module:
    """timm's model with its weights; a pickle among them that is more than data is not run."""
    try:
        with data_only():
            return timm.create_model(name, pretrained=True)
    except Exception as error:  # timm and the hub's client raise errors of every kind
        raise ValueError(
            f"weights {START + name} cannot be had: {reason_of(error)}; check name and connection, or give a "
            "file that was downloaded elsewhere"
        ) from error


def describe(vit: ViT, name: str) -> PretrainedFacts:
    """What timm says of the model. The architecture's name is one that timm builds without a download."""
    said: dict[str, Any] = vit.pretrained_cfg  # pyright: ignore[reportAssignmentType]
    encoder, names = Encoder(vit), said.get("label_names") or ()
    named = {str(index): name for index, name in enumerate(names)} if len(names) == vit.num_classes else {}
    config = EncoderConfig(
        model=name,
        image_size=encoder.image_size,
        channels=encoder.channels,
    )
    if ":" in name:
        config = replace(config, model=said["architecture"], **sizes_of(encoder))
    return PretrainedFacts(
        encoder=config,
        mean=list(said["mean"]),
        std=list(said["std"]),
        classes=class_names(vit.state_dict(), named),
        global_pool=vit.global_pool,
        crop_pct=said["crop_pct"],
    )


def with_own_options(vit: ViT, facts: PretrainedFacts) -> PretrainedFacts:
    """The facts with the options of the network's name that its tensors tell: a folder may have given it others."""
    tensors = dict(vit.state_dict())
    if "pos_embed" not in tensors or differs(vit, facts) is None:
        return facts
    options = options_of(tensors, Encoder(vit).grid, "the model") | norm_options(vit)
    found = replace(facts, encoder=replace(facts.encoder, model=with_options(facts.encoder.model, options)))
    return found if differs(vit, found) is None else facts


def norm_options(vit: ViT) -> dict[str, Any]:
    """Whether there is a norm after the pooling, where timm would decide otherwise."""
    there = not isinstance(vit.fc_norm, nn.Identity)
    return {} if there == (vit.global_pool in ("avg", "avgmax", "max")) else {"fc_norm": there}


def sizes_of(encoder: Encoder) -> dict[str, int]:
    """Sizes that a folder or repository may have given to an architecture of timm's."""
    sizes = {"patch_size": encoder.patch_size[0], "width": encoder.width, "depth": encoder.depth}
    if hasattr(getattr(encoder.vit.blocks[0], "attn", None), "num_heads"):
        sizes["heads"] = encoder.heads
    return sizes


def check_same(vit: ViT, facts: PretrainedFacts, name: str) -> None:
    """Raise ValueError when name and sizes do not make this model: its author gave it other settings beside them."""
    if found := differs(vit, facts):
        raise ValueError(f"weights {START + name} have {found[0]}, where timm's {facts.encoder.model} has {found[1]}")


def differs(vit: ViT, facts: PretrainedFacts) -> tuple[str, str] | None:
    """The first thing that a model and the network of its facts do not have alike."""
    with torch.device("meta"):
        twin = build_model(facts).encoder.vit
    return first_unlike(settings(vit), settings(twin))


def first_unlike(ours: dict[str, str], theirs: dict[str, str]) -> tuple[str, str] | None:
    """What one and the other say first that is not alike: a name and its value, or that there is none."""
    name = next((name for name in (ours | theirs) if ours.get(name) != theirs.get(name)), None)
    if name is None:
        return None
    one, other = (f"{name} {said[name]}" if name in said else f"no {name}" for said in (ours, theirs))
    return one, other


def settings(vit: ViT) -> dict[str, str]:
    """What a model computes, layer by layer, in words; drop-out does not count."""
    table = Encoder(vit).backbone.positions
    positions = {"positions": str(None if table is None else tuple(table.shape))}
    layers = [(name, part) for name, part in vit.named_modules() if not isinstance(part, IDLE)]
    kinds = {name: type(part).__name__ if [*part.children()] else str(part) for name, part in layers}
    numbers = {f"{name}.{word}".lstrip("."): said for name, part in layers for word, said in numbers_of(part).items()}
    return positions | kinds | numbers


def numbers_of(part: nn.Module) -> dict[str, str]:
    """Numbers and words by which a module computes, beside its weights: the temperature of rotary positions say."""
    own = {name: value for name, value in vars(part).items() if not name.startswith("_") and name not in NO_MATTER}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in sorted(own.items())}
    return {name: str(value) for name, value in plain.items() if isinstance(value, int | float | str | tuple)}
