"""Detectors to and from files: tensors, and all that is needed to find objects with them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from pcae.data.augment import Normalise
from pcae.data.coco.checks import Id
from pcae.model.encoder import Encoder
from pcae.model.pretrained import build_vit
from pcae.settings.network import EncoderConfig
from pcae.settings.tasks import DetectionConfig
from pcae.settings.values import check_values, expand
from pcae.tasks.detection import Detection
from pcae.training.checkpoint import save_atomically
from pcae.weights.reading import read_safetensors, reason_of

DETECTOR_FILE = "detector.safetensors"
"""A detector in its run folder."""


@dataclass(frozen=True, kw_only=True)
class DetectorFacts:
    """What a detector's file says of itself beside its tensors.

    classes, category_ids: names and COCO's ids of the labels 1, 2, ... min_size, max_size: pixels of an image's shorter
    side where objects are looked for, and the most of its longer one. pixel_range: values of 16-bit and float pixels
    that become black and white. norm_eps: epsilon of the encoder's norms, where it is not timm's. masks: whether it
    cuts objects out (Mask R-CNN), or finds their boxes alone (Faster R-CNN).
    """

    encoder: EncoderConfig
    detection: DetectionConfig
    classes: list[str]
    category_ids: list[Id]
    mean: list[float]
    std: list[float]
    min_size: int
    max_size: int
    pixel_range: tuple[float, float] | None = None
    bands: tuple[int, ...] | None = None
    norm_eps: float | None = None
    masks: bool = True


@dataclass(frozen=True, kw_only=True)
class LoadedDetector:
    """A detector's tensors, on the CPU, what it knows of itself, and where it comes from, in words."""

    tensors: dict[str, Tensor]
    facts: DetectorFacts
    source: str


def build_detection(facts: DetectorFacts) -> Detection:
    """A detector of the architecture that `facts` describe, with initial weights. Raises ValueError for what cannot
    be."""
    encoder = Encoder(build_vit(facts.encoder, 0, "", facts.norm_eps))
    return Detection(
        encoder,
        facts.detection,
        classes=len(facts.classes),
        mean=facts.mean,
        std=facts.std,
        min_size=facts.min_size,
        max_size=facts.max_size,
        masks=facts.masks,
    )


def save_detector(path: Path, detection: Detection, facts: DetectorFacts) -> None:
    """Write a detector in one move; its encoder's tensors begin with `network.backbone.encoder.vit.`."""
    save_atomically(path, detection.state_dict(), asdict(facts))


def find_detector(weights: str | Path) -> LoadedDetector:
    """The detector in a run folder or a file, nothing of which is run. Raises ValueError when it is none or damaged."""
    path = expand(weights)
    path = path / DETECTOR_FILE if path.is_dir() else path
    if not path.is_file():
        raise ValueError(
            f"weights {str(weights)!r} is neither a run folder with {DETECTOR_FILE} nor such a file, which pcae detect "
            "train writes at its end; is the run finished?"
        )
    tensors, header = read_safetensors(path)
    try:
        said = json.loads(header["pcae"])
        check_values(EncoderConfig, said["encoder"], str(path))
        check_values(DetectionConfig, said["detection"], str(path))
        facts = TypeAdapter(DetectorFacts).validate_python(said)
        Normalise(facts.mean, facts.std, facts.encoder.channels or 3)
        if len(facts.category_ids) != len(facts.classes):
            raise ValueError
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise ValueError(f"{path} holds no detector of pcae's; pcae detect train makes one of an encoder") from error
    return LoadedDetector(tensors=tensors, facts=facts, source=str(path))


def fill_detector(loaded: LoadedDetector, device: torch.device) -> Detection:
    """The detector on a device, in evaluation mode. Raises ValueError when the tensors are not those of its facts."""
    detection = build_detection(loaded.facts)
    try:
        detection.load_state_dict(loaded.tensors)
    except RuntimeError as error:
        raise ValueError(f"{loaded.source} holds another detector than it says: {reason_of(error)}") from error
    return detection.to(device).eval()
