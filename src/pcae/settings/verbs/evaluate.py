"""What `pcae evaluate` is told."""

from dataclasses import dataclass
from pathlib import Path

from pcae.settings.bounds import AnyData, Count, Natural
from pcae.settings.trained import RuleConfig, ShownConfig, TrainedConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Say how often a classifier is right and how fast it is, and what speed costs in accuracy.

    DATA has labels. Works with any classifier: a fine-tuned run, or timm:NAME, whose tokens are then dropped without
    any training.
    """

    EXAMPLES = (
        "labelled --weights runs/classifier",
        "labelled --weights runs/dial --drop-ratio 0 0.2 0.4 --out accuracy-speed.png",
    )
    USUAL = (
        "data weights drop_ratio fold reduction only image_size batch_size rounds out confusion mistakes device json"
    )
    ADDRESSES = ("parts",)

    data: AnyData
    """Folder with val/CLASS/... folders, .csv of path,label, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: TrainedConfig
    drop_ratio: tuple[float, ...] | None = None
    """Shares of the patch tokens that each of three stages drops; without it, those that it was fine-tuned with."""
    rule: RuleConfig = RuleConfig()
    shown: ShownConfig = ShownConfig()
    batch_size: Count | None = None
    """Images of a large batch; without it, 16 on a CPU and 256 elsewhere."""
    rounds: Natural = 5
    """Turns that each drop ratio has in the measurement of speed; 0 for none."""
    out: Path | None = None
    """Picture of accuracy against speed (.png, .svg or .pdf) of two drop ratios or more; without it,
    accuracy-speed.png."""
    confusion: Path | None = None
    """Picture of the confusion matrix at the first drop ratio (.png, .svg or .pdf)."""
    mistakes: Path | None = None
    """Page (.html) of the wrong predictions at the first drop ratio that the model was surest of, with pictures."""
    only: Path | None = None
    """File of the images that count, by their names below DATA, one a line: the validation.txt of a run."""
    parts: Path | None = None
    """Folder for what the classifier says of each image (its logits), in parts as `pcae embed` writes them: after any
    end the same command goes on."""
    json: bool = False
    """Print as JSON."""
