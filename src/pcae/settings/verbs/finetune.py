"""What `pcae finetune` is told."""

from dataclasses import dataclass

from pcae.settings.bounds import HeldOut, OnlyPython, Portion
from pcae.settings.intervals import EveryOrEpochs
from pcae.settings.labels import LabelsConfig
from pcae.settings.network import NetworkConfig
from pcae.settings.reading import DataConfig, PolicyConfig
from pcae.settings.run import OptimizerConfig
from pcae.settings.tasks import ClassificationConfig
from pcae.settings.training import RunSettings


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunSettings):
    """Fine-tune an encoder to classify images, dropping redundant tokens on the way (section 3.4 of the paper).

    DATA has labels: train/CLASS/... and val/CLASS/... folders, a .csv of path,label with --validation OTHER,
    WebDataset shards, hf:NAME, `sample` or `fashion-mnist`. The defaults are MAE's recipe for ViT-B.
    """

    EXAMPLES = (
        "labelled --weights runs/photos --recipe auto --out runs/classifier",
        "labelled --weights runs/photos --drop-ratio 0:0.4 --epochs 50 --out runs/dial",
    )
    USUAL = (
        "data out weights from_scratch recipe drop_ratio freeze validation image_size epochs steps batch_size device "
        "dry_run"
    )

    weights: str | None = None
    """Run folder, .safetensors or .pth file, folder of Hugging Face's ViT or ViTMAE, timm:NAME or hf-hub:OWNER/NAME."""
    from_scratch: bool = False
    """Begin with random weights; --weights then only says the architecture, without it --model and so on do."""
    validation: HeldOut = None
    """Held-out images in another place; without it, the val folder or test split of DATA."""
    evaluate_every: EveryOrEpochs = "1ep"
    """Steps, or epochs as in 1ep, between looks at the held-out images; there is always one at the end."""
    dry_run: bool = False
    """Make a few steps, write nothing, and say what the run takes: hours, images/s, memory, the largest batch. Steps
    that drop more tokens than the next ones are faster than that."""
    crop_pct: Portion | None = None
    """Share of the shorter side that evaluation looks at, in (0, 1]; without it, that of the weights (MAE: 0.875)."""
    labels: LabelsConfig = LabelsConfig()
    transform: OnlyPython = None
    """A callable on an image, in place of crops, mirroring, RandAugment and erasing; from Python alone."""
    network: NetworkConfig = NetworkConfig()
    task: ClassificationConfig = ClassificationConfig()
    policy: PolicyConfig = PolicyConfig()
    reading: DataConfig = DataConfig(crop_scale=(0.08, 1.0))
    optimizer: OptimizerConfig = OptimizerConfig(base_lr=5e-4, betas=(0.9, 0.999))


USUAL_EPOCHS = 100
