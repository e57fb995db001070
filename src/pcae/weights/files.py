"""Weights to and from files: ours, with all that is needed to use them, and those of others."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from pcae.data.augment import Normalise
from pcae.model.backbones import ViT
from pcae.model.pretrained import Pretrained, PretrainedFacts, build_model
from pcae.model.tokens import Grid
from pcae.settings.given import Given
from pcae.settings.network import EncoderConfig
from pcae.settings.sources import as_weights
from pcae.settings.trained import Rule
from pcae.settings.values import check_values, expand
from pcae.training.checkpoint import save_atomically
from pcae.weights import hub
from pcae.weights.decoders import DECODER_FILE, with_our_decoder
from pcae.weights.hugging_face import find_hugging_face
from pcae.weights.loaded import EMBEDDING, Loaded
from pcae.weights.matching import Matching, check_complete, compare, fit
from pcae.weights.objects import find_object
from pcae.weights.reading import CONFIG, by_torch, read_json, read_safetensors, read_torch, reason_of
from pcae.weights.timm_models import START, find_timm, find_timm_wrapper
from pcae.weights.untyped_files import find_untyped

FILE = "encoder.safetensors"
"""A pre-trained encoder in its run folder."""
CLASSIFIER_FILE = "classifier.safetensors"
"""A fine-tuned classifier in its run folder."""


def save_model(path: Path, vit: ViT, facts: PretrainedFacts) -> None:
    """Write an encoder or classifier under timm's names; plain timm loads the tensors with strict=True."""
    save_atomically(path, dict(vit.state_dict()), dataclasses.asdict(facts))


def save(
    model: nn.Module,
    path: str | Path,
    *,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> Path:
    """Write a model as a .safetensors file that `pcae.load` reads, and whose tensors plain timm loads, strictly.

    model: an Encoder, timm's VisionTransformer, or what `pcae.load` returned. mean, std: of its images, for pixels
    from 0 to 1, one number a channel or one for all; only a loaded model knows its own. Raises ValueError without them,
    for another ending of the name, and for a model that no name and sizes of timm's describe.
    """
    path = expand(path)
    if path.suffix != ".safetensors":
        usual = str(path.with_suffix(".safetensors"))
        raise ValueError(f"the file's name must end in .safetensors, got {str(path)!r}; use {usual!r}")
    loaded = find(as_weights(model))
    facts = with_statistics(loaded.facts, mean, std, known=isinstance(model, Pretrained))
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in loaded.tensors.items()}
    save_atomically(path, tensors, dataclasses.asdict(facts))
    return path


def with_statistics(
    facts: PretrainedFacts,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    *,
    known: bool,
) -> PretrainedFacts:
    """The facts with this mean and std. known: those that they have are true, and may stay."""
    if not known and (mean is None or std is None):
        raise ValueError(
            "mean and std are missing, by which the images were normalised; where they are those of timm, give "
            f"mean={facts.mean}, std={facts.std}"
        )
    channels = facts.encoder.channels or 3
    facts = dataclasses.replace(
        facts,
        mean=facts.mean if mean is None else by_channel(mean, channels),
        std=facts.std if std is None else by_channel(std, channels),
    )
    Normalise(facts.mean, facts.std, channels)  # raises for values that cannot be
    if max(*facts.mean, *facts.std) > 1:
        raise ValueError(f"mean and std are of pixels from 0 to 1, got {facts.mean} and {facts.std}; divide by 255")
    return facts


def by_channel(value: float | Sequence[float], channels: int) -> list[float]:
    """A number for each channel."""
    return [float(value)] * channels if isinstance(value, int | float) else [float(one) for one in value]


def load(
    weights: str | Path | nn.Module,
    device: torch.device | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Pretrained:
    """A trained model, in evaluation mode, for images of its own size or of `image_size` (height, width in pixels).

    weights: a run folder, a .safetensors file, a .pth, .pt or .bin file such as MAE's, a folder of Hugging Face's ViT
    or ViTMAE, timm:NAME, or hf-hub:OWNER/NAME[@REVISION], of which safetensors alone are taken; or a model, an Encoder
    or timm's VisionTransformer, which is copied. device: without it the CPU, and where a model lies. Positions are
    resized for another image size. Raises ValueError when there is nothing of the kind, when it is damaged, when it
    wants to run code and when its tensors match too little.
    """
    weights = as_weights(weights)
    if device is None and isinstance(weights, Given) and isinstance(weights.value, nn.Module):
        device = next((parameter.device for parameter in weights.value.parameters()), None)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    return fill(find(weights), device, size)[0]


def fill(
    loaded: Loaded, device: torch.device | None = None, image_size: tuple[int, int] | None = None
) -> tuple[Pretrained, Matching]:
    """The model that weights are of, in evaluation mode, and what became of the tensors."""
    encoder = dataclasses.replace(loaded.facts.encoder, image_size=image_size or loaded.facts.encoder.image_size)
    model = build_model(dataclasses.replace(loaded.facts, encoder=encoder), loaded.decoder)
    matching = fit(model.encoder.vit, loaded.tensors, loaded.grid)
    return model.to(device or torch.device("cpu")).eval(), matching


def image_size_of(loaded: Loaded, grid: Grid) -> tuple[int, int]:
    """Height and width in pixels of images that are a grid of patches to the model of these weights."""
    with torch.device("meta"):
        height, width = build_model(loaded.facts).encoder.patch_size
    return grid[0] * height, grid[1] * width


def find(weights: str | Path) -> Loaded:
    """The tensors, in timm's names, and what is known of them. Raises ValueError as `load` does.

    weights: as for `load`, models as `Given`; FILE#START takes the one of several encoders in a file whose names begin
    with START.
    """
    if isinstance(weights, Given):
        with said_of(str(weights)):
            return checked(find_object(weights.value, str(weights)))
    if str(weights).startswith(START):
        return find_timm(str(weights).removeprefix(START))
    if str(weights).startswith(hub.START):
        return hub.read(str(weights), find)
    return find_place(str(weights))


def find_place(weights: str) -> Loaded:
    """What a run folder, a folder or a file of weights holds. Raises ValueError where there is nothing of the kind."""
    path = expand(weights)
    check_place(path)
    if path.is_dir():
        ours = [path / name for name in (CLASSIFIER_FILE, FILE) if (path / name).is_file()]
        if ours:
            return find_run(ours[0])
        if (path / CONFIG).is_file():
            return find_folder(path)
    if path.is_file():
        return find_file(path)
    name, sign, asked = str(path).rpartition("#")
    if sign and Path(name).is_file():
        return find_file(Path(name), asked)
    if weights.startswith("<"):
        raise ValueError(f"the weights were an object, {weights}, of which its run keeps the name alone; give a file")
    raise ValueError(
        f"weights {weights!r} is neither a run folder with {CLASSIFIER_FILE} or {FILE}, nor a file of "
        "weights, a folder of Hugging Face's ViT, timm:NAME or hf-hub:OWNER/NAME; is the run finished?"
    )


def check_place(path: Path) -> None:
    """Raise ValueError, with the remedy, for a run's folder of checkpoints, and the file that names the last one."""
    for folder in (path, path.parent):
        if folder.name == "checkpoints" and (path == folder or path.name == "last") and (folder / "last").is_file():
            raise ValueError(f"{path} is of checkpoints, from which a run goes on; {weights_of_run(folder.parent)}")


def find_folder(folder: Path) -> Loaded:
    """What a folder of transformers' or timm's holds."""
    said = read_json(folder / CONFIG)
    with said_of(folder):
        if said.get("model_type") == "timm_wrapper":
            return find_timm_wrapper(folder)
        if "architecture" in said:
            return find_timm(f"local-dir:{folder}")
        return checked(find_hugging_face(folder))


def find_file(path: Path, asked: str | None = None) -> Loaded:
    """What a file of weights holds. asked: what the names of the wanted encoder begin with, where there are several."""
    settings, header = {}, {}
    if by_torch(path):
        tensors, settings = read_torch(path)
    else:
        tensors, header = read_safetensors(path)
    if "pcae" in header:
        return find_ours(tensors, header["pcae"], path)
    if (path.parent / CONFIG).is_file() and not any(name.endswith(EMBEDDING) for name in tensors):
        raise ValueError(f"{path} says nothing of itself, {CONFIG} beside it does; give the folder: {path.parent}")
    with said_of(path):
        return checked(find_untyped(tensors, path, settings, asked))


def check_kind(said: dict[str, Any], path: Path) -> None:
    """Raise ValueError, with the remedy, for files of ours that hold something else than a model."""
    if "encoder" not in said and "step" in said:
        raise ValueError(f"it is a checkpoint, from which a run goes on; {weights_of_run(path.parent.parent)}")
    if "detection" in said:
        raise ValueError("it is a detector, which the verbs of pcae detect take")
    if "decoder" in said and "encoder" not in said:
        raise ValueError(f"it is a decoder; give the folder, which holds its encoder too: {path.parent}")


def weights_of_run(run: Path) -> str:
    """Where the weights of a checkpoint's run are, in words: its folder has them once it is finished."""
    if (run / FILE).is_file() or (run / CLASSIFIER_FILE).is_file():
        return f"give the run's folder: {run}"
    return f"the run is not finished: start it again with --out {run}, then give that folder"


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
    check_complete(compare(twin, loaded.tensors, loaded.grid)[1])
    return loaded


@contextmanager
def said_of(path: Path | str) -> Iterator[None]:
    """Whatever odd settings and shapes lead to in it is a ValueError that names `path`."""
    try:
        yield
    except (TypeError, IndexError, KeyError, AttributeError, RuntimeError, ValidationError) as error:
        raise ValueError(f"{path} holds no model that can be read: {reason_of(error)}") from error


def with_rule(said: dict[str, Any]) -> dict[str, Any]:
    """A header with the rule by which tokens are dropped, also where it is older and says it in two words: what it says
    without having dropped any in training is nobody's choice."""
    older = {
        "criterion": said.get("criterion", Rule.criterion),
        "fold": "pool" if said.get("pool_dropped") else Rule.fold,
    }
    chosen = Rule(**older) != Rule() or max(said.get("drop_ratios", (0.0,)))
    return ({"rule": older} if chosen else {}) | said


def find_ours(tensors: dict[str, Tensor], header: str, path: Path) -> Loaded:
    """Weights with our header; fields that it lacks, being older, have their defaults. Raises ValueError if it lies."""
    try:
        said: dict[str, Any] = json.loads(header)
        check_kind(said, path)
        check_values(EncoderConfig, said["encoder"], str(path))
        facts = TypeAdapter(PretrainedFacts).validate_python(with_rule(said))
        with torch.device("meta"):
            build_model(facts).encoder.vit.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} holds no encoder of pcae's: {reason_of(error, 600)}") from error
    return Loaded(tensors=tensors, facts=facts, source=str(path))
