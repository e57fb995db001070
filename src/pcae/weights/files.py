"""A run's encoder in one file: timm's tensor names, its sizes and the statistics of its data."""

import dataclasses
from pathlib import Path

import torch

from pcae.model.encoder import Encoder, EncoderConfig, build_encoder
from pcae.model.pretrained import Pretrained, PretrainedFacts
from pcae.settings import build, check_values, expand
from pcae.training.checkpoint import read, save_atomically

FILE = "encoder.safetensors"


def save_encoder(path: Path, encoder: Encoder, facts: PretrainedFacts) -> None:
    """Write the encoder under timm's names; plain timm loads the tensors with strict=True."""
    save_atomically(path, dict(encoder.vit.state_dict()), dataclasses.asdict(facts))


def load(weights: str | Path, device: torch.device | None = None) -> Pretrained:
    """The encoder of a run folder or of an encoder.safetensors, in evaluation mode.

    Raises ValueError when there is none, when it is damaged or when its tensors do not fit its own description.
    """
    path = expand(weights)
    if path.is_dir():
        path /= FILE
    if not path.is_file():
        raise ValueError(
            f"weights {str(weights)!r} is neither a run folder with {FILE} nor such a file; is the run finished?"
        )
    tensors, header = read(path)
    try:
        config = build(EncoderConfig, check_values(EncoderConfig, header["encoder"], str(path)))
        reach = header.get("pixel_range")
        facts = PretrainedFacts(
            encoder=config, mean=header["mean"], std=header["std"], pixel_range=reach and (reach[0], reach[1])
        )
        encoder = build_encoder(config)
        encoder.vit.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} holds no encoder of pcae's: {' '.join(str(error).split())[:200]}") from error
    return Pretrained(encoder, facts).to(device or torch.device("cpu")).eval()
