"""Which format an exported file or folder is of, by its name and by what the folder says."""

from pathlib import Path

from pcae.settings.choices import ExportFormat
from pcae.weights.export.web import FACTS
from pcae.weights.reading import CONFIG, read_json

BY_SUFFIX: dict[str, ExportFormat] = {
    ".onnx": "onnx",
    ".pt2": "torch-export",
    ".safetensors": "safetensors",
    ".pth": "mae",
}
BY_TYPE: dict[str, ExportFormat] = {"vit": "hf", "vit_mae": "vitmae"}
"""Formats of folders, by transformers' model_type."""


def format_of(place: Path) -> ExportFormat:
    """The format of a file or folder. Raises ValueError when it is not there or of no format of ours."""
    if not place.exists():
        raise ValueError(f"check {str(place)!r} is not there; give an exported file or folder")
    if (place / FACTS).is_file():
        return "web"
    if (place / CONFIG).is_file():
        said = read_json(place / CONFIG)
        found = "timm" if "architecture" in said else BY_TYPE.get(str(said.get("model_type")))
    else:
        found = BY_SUFFIX.get(place.suffix)
    if found is None:
        raise ValueError(f"check {str(place)!r} is of no format that pcae export writes; say which by --to")
    return found
