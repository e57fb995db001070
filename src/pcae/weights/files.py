"""Weights to and from files: ours, with all that is needed to use them, and those of others."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from pcae.model.pretrained import Pretrained, PretrainedFacts, build_model
from pcae.settings.network import EncoderConfig
from pcae.settings.values import check_values, expand
from pcae.training.checkpoint import save_atomically
from pcae.weights.decoders import DECODER_FILE, with_our_decoder
from pcae.weights.hugging_face import CONFIG, find_hugging_face
from pcae.weights.loaded import Loaded
from pcae.weights.matching import Matching, compare, fit
from pcae.weights.reading import TORCH_SUFFIXES, read_safetensors, read_torch, reason_of
from pcae.weights.timm_models import START, find_timm
from pcae.weights.untyped_files import find_untyped

FILE = "encoder.safetensors"
"""A pre-trained encoder in its run folder."""
CLASSIFIER_FILE = "classifier.safetensors"
"""A fine-tuned classifier in its run folder."""


def save_model(path: Path, vit: VisionTransformer, facts: PretrainedFacts) -> None:
    """Write an encoder or classifier under timm's names; plain timm loads the tensors with strict=True."""
    save_atomically(path, dict(vit.state_dict()), dataclasses.asdict(facts))


def load(
    weights: str | Path, device: torch.device | None = None, image_size: tuple[int, int] | None = None
) -> Pretrained:
    """A trained model, in evaluation mode, for images of its own size or of `image_size` (height, width in pixels).

    weights: a run folder, a .safetensors file, a .pth, .pt or .bin file such as MAE's, a folder of Hugging Face's ViT
    or ViTMAE, or timm:NAME. Positions are resized for another image size. Raises ValueError when there is nothing of
    the kind, when it is damaged, when it wants to run code and when its tensors match too little.
    """
    return fill(find(weights), device, image_size)[0]


def fill(
    loaded: Loaded, device: torch.device | None = None, image_size: tuple[int, int] | None = None
) -> tuple[Pretrained, Matching]:
    """The model that weights are of, in evaluation mode, and what became of the tensors."""
    encoder = dataclasses.replace(loaded.facts.encoder, image_size=image_size or loaded.facts.encoder.image_size)
    model = build_model(dataclasses.replace(loaded.facts, encoder=encoder), loaded.decoder)
    matching = fit(model.encoder.vit, loaded.tensors, loaded.grid)
    return model.to(device or torch.device("cpu")).eval(), matching


def find(weights: str | Path) -> Loaded:
    """The tensors, in timm's names, and what is known of them. Raises ValueError as `load` does."""
    if str(weights).startswith(START):
        return find_timm(str(weights).removeprefix(START))
    path = expand(weights)
    if path.is_dir():
        ours = [path / name for name in (CLASSIFIER_FILE, FILE) if (path / name).is_file()]
        if ours:
            return find_run(ours[0])
        if (path / CONFIG).is_file():
            with said_of(path):
                return checked(find_hugging_face(path))
    if not path.is_file():
        raise ValueError(
            f"weights {str(weights)!r} is neither a run folder with {CLASSIFIER_FILE} or {FILE}, nor a file of "
            "weights, a folder of Hugging Face's ViT or timm:NAME; is the run finished?"
        )
    return find_file(path)


def find_file(path: Path) -> Loaded:
    """What a file of weights holds."""
    settings, header = {}, {}
    if path.suffix in TORCH_SUFFIXES:
        tensors, settings = read_torch(path)
    else:
        tensors, header = read_safetensors(path)
    if "pcae" in header:
        return find_ours(tensors, header["pcae"], path)
    with said_of(path):
        return checked(find_untyped(tensors, path, settings))


def find_run(path: Path) -> Loaded:
    """What a run folder holds: its classifier, or its encoder with the decoder beside it."""
    loaded, decoder = find_file(path), path.with_name(DECODER_FILE)
    return with_our_decoder(loaded, decoder) if path.name == FILE and decoder.is_file() else loaded


def checked(loaded: Loaded) -> Loaded:
    """The weights, whose facts are of the types that they should be, and true: of a model that the tensors fill.

    It is built without memory for this. Raises ValueError when they are not.
    """
    TypeAdapter(PretrainedFacts).validate_python(dataclasses.asdict(loaded.facts))
    with torch.device("meta"):
        twin = build_model(loaded.facts).encoder.vit
    compare(twin, loaded.tensors, loaded.grid)
    return loaded


@contextmanager
def said_of(path: Path) -> Iterator[None]:
    """Whatever odd settings and shapes lead to in it is a ValueError that names `path`."""
    try:
        yield
    except (TypeError, IndexError, KeyError, AttributeError, RuntimeError, ValidationError) as error:
        raise ValueError(f"{path} holds no model that can be read: {reason_of(error)}") from error


def find_ours(tensors: dict[str, Tensor], header: str, path: Path) -> Loaded:
    """Weights with our header; fields that it lacks, being older, have their defaults. Raises ValueError if it lies."""
    try:
        said: dict[str, Any] = json.loads(header)
        check_values(EncoderConfig, said["encoder"], str(path))
        facts = TypeAdapter(PretrainedFacts).validate_python(said)
        with torch.device("meta"):
            build_model(facts).encoder.vit.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} holds no encoder of pcae's: {reason_of(error)}") from error
    return Loaded(tensors=tensors, facts=facts, source=str(path))
