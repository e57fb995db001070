"""What the verbs of detection are told."""

from dataclasses import dataclass
from pathlib import Path

from pcae.settings.bounds import AnyImages, OneData, Share
from pcae.settings.choices import Split
from pcae.settings.intervals import EveryOrEpochs
from pcae.settings.network import NetworkConfig
from pcae.settings.reading import AnnotationConfig, ViewConfig
from pcae.settings.run import OptimizerConfig, RunConfig
from pcae.settings.tasks import DetectionConfig
from pcae.settings.trained import UsedConfig
from pcae.settings.training import RunSettings


@dataclass(frozen=True, kw_only=True)
class DetectTrainConfig(RunSettings):
    """Train a detector (Mask R-CNN with a feature pyramid, section 3.5 of the paper; Faster R-CNN where there are no
    masks) from an encoder, end to end.

    DATA is in COCO's format: a folder with annotations/instances_train*.json beside train*/ (and the same for val),
    Roboflow's export, train.json and val.json beside images/, or one .json file with --validation OTHER.json.
    """

    EXAMPLES = (
        "coco --weights runs/photos --recipe detect-small --out runs/detector",
        "annotations.json --images pictures --from-scratch --dry-run --out runs/detector",
    )
    USUAL = "data out weights from_scratch recipe images validation masks drop_ratio epochs batch_size device dry_run"
    packs = False

    data: OneData
    """Folder of COCO-format data, or a .json file of annotations."""
    weights: str | None = None
    """Run folder, .safetensors or .pth file, folder of Hugging Face's ViT or ViTMAE, timm:NAME or hf-hub:OWNER/NAME."""
    from_scratch: bool = False
    """Begin with random weights; --weights then only says the architecture, without it --model and so on do."""
    images: str | None = None
    """Folder of the images, where it is not found beside the annotations; the last parts of their names are enough."""
    validation: str | None = None
    """Held-out annotations in another place; without it, the val part of DATA."""
    validation_images: str | None = None
    """Folder of the held-out images, where it is not found; without it, that of --images."""
    evaluate_every: EveryOrEpochs = "1ep"
    """Steps, or epochs as in 1ep, between looks at the held-out images; there is always one at the end."""
    empty_images: bool = False
    """Train on images without objects, too, which teach what is background; as usual on COCO, they are left out."""
    dry_run: bool = False
    """Make a few steps, say what the run would take in time and memory, and write nothing."""
    network: NetworkConfig = NetworkConfig()
    detection: DetectionConfig = DetectionConfig()
    annotations: AnnotationConfig = AnnotationConfig()
    view: ViewConfig = ViewConfig()
    optimizer: OptimizerConfig = OptimizerConfig(base_lr=1.6e-3, betas=(0.9, 0.999))
    run: RunConfig = RunConfig(batch_size=16)


@dataclass(frozen=True, kw_only=True)
class DetectEvaluateConfig:
    """Say how good a detector is by COCO's measures, and how fast.

    DATA is in COCO's format, as for `pcae detect train`. Tokens can be dropped, and windows be chosen, without any
    training for it.
    """

    EXAMPLES = (
        "coco --weights runs/detector",
        "coco --weights runs/detector --drop-ratio 0.2 --reduce-after 8 --predictions found.json",
    )
    USUAL = "data weights images split drop_ratio reduce_after window shortest_side predictions device json"

    data: OneData
    """Folder of COCO-format data, or a .json file of annotations."""
    model: UsedConfig
    images: str | None = None
    """Folder of the images, where it is not found beside the annotations; the last parts of their names are enough."""
    split: Split = "test"
    """Which part of a folder; test is also its val part."""
    annotations: AnnotationConfig = AnnotationConfig()
    predictions: Path | None = None
    """The .json file that all predictions are written to, as COCO's results."""
    json: bool = False
    """Print as JSON."""


@dataclass(frozen=True, kw_only=True)
class DetectPredictConfig:
    """Find objects in images: OUT gets results.json as COCO has it, images.json with the images' and the categories'
    ids, and every picture with boxes, labels and masks drawn.

    Images that cannot be read are named at the end.
    """

    EXAMPLES = (
        "photos --weights runs/detector --out found",
        "photos --weights runs/detector --threshold 0.8 --no-pictures --out found",
    )
    USUAL = "data weights out threshold pictures split drop_ratio reduce_after shortest_side device json"

    data: AnyImages
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: UsedConfig
    out: Path
    """Folder to write to."""
    threshold: Share = 0.5
    """Least score of objects that are written and drawn, in [0, 1)."""
    split: Split = "test"
    """Which split, where the data has splits; test is also the val folder."""
    pictures: bool = True
    """Draw the pictures, too."""
    json: bool = False
    """Print what was found as JSON."""


USUAL_EPOCHS = 12
"""The 1x schedule: 90,000 steps of 16 images on COCO are 12.3 epochs."""
