"""The trained model that a verb works with: where its weights come from, and what was matched."""

from dataclasses import dataclass

from pcae.commands.report import console
from pcae.model.pretrained import Pretrained
from pcae.training.distributed import pick_device
from pcae.weights.files import fill, find


@dataclass(frozen=True, kw_only=True)
class TrainedConfig:
    """A trained model."""

    weights: str
    """Run folder, .safetensors or .pth file, folder of Hugging Face's ViT or ViTMAE, or timm:NAME."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images in pixels; without it, the model's own. Positions are resized."""
    device: str = "auto"
    """cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""


def open_trained(config: TrainedConfig) -> Pretrained:
    """The model, in evaluation mode; says what was matched."""
    device = pick_device(config.device)
    found = find(config.weights)
    model, match = fill(found, device, config.image_size)
    console.print(f"weights: {found.source}")
    for line in (*match.describe(), *found.remarks):
        console.print(f"  {line}")
    return model
