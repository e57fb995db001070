"""What `pcae predict` is told."""

from dataclasses import dataclass
from pathlib import Path

from pcae.settings.bounds import AnyImages, Count, Share
from pcae.settings.trained import RuleConfig, ShownConfig, TrainedConfig


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Classify images: for each a line of JSON with its path and the classes of highest probability.

    The line of an image that cannot be read says why.
    """

    EXAMPLES = (
        "photos --weights runs/classifier",
        "photos --weights runs/classifier --drop-ratio 0.3 --top 1 --out labels.jsonl",
    )
    USUAL = "data weights out drop_ratio fold reduction top threshold split batch_size image_size device json"
    ADDRESSES = ("out",)

    data: AnyImages
    """An image, a folder, a .txt or .csv list, WebDataset shards, `hf:NAME`, or a built-in word."""
    model: TrainedConfig
    out: Path | None = None
    """The .jsonl file to write, or a folder for parts in .parquet, which processes and machines share (torchrun, srun)
    and which may be at an address (s3, gs, hf); without it, lines go to standard output."""
    drop_ratio: float | None = None
    """Share of the patch tokens that each of three stages drops; without it, as it was fine-tuned."""
    rule: RuleConfig = RuleConfig()
    top: Count = 5
    """Classes that are named for each image."""
    threshold: Share | None = None
    """Name every class of at least this probability instead, however many these are; 0.5 suits weights that were
    fine-tuned with --multi-label, whose probabilities stand for themselves."""
    shown: ShownConfig = ShownConfig()
    batch_size: Count = 32
    """Images that are classified at once."""
    part_rows: Count | None = None
    """Images of a part of a folder; without it 64 parts, of 512 to 16,384 images."""
    json: bool = False
    """Print one JSON document instead of lines: all predictions, or with --out what was written."""
