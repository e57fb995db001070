"""What `pcae embed` is told."""

from dataclasses import dataclass
from pathlib import Path

from pcae.settings.bounds import AnyData, Count
from pcae.settings.choices import Pool
from pcae.settings.trained import ShownConfig, TrainedConfig


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Write one row of features an image; nothing is hidden, dropped or random.

    A .parquet file has the columns path and embedding. Beside OUT.npy stands OUT.files.json: which image each row is.
    """

    EXAMPLES = (
        "photos --weights runs/photos --out features.npy",
        "photos --weights timm:vit_small_patch16_224 --pool cls --out features.parquet",
    )

    data: AnyData
    """Folder, image, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`."""
    model: TrainedConfig
    out: Path
    """The .npy (float32, images x features) or .parquet file to write."""
    shown: ShownConfig = ShownConfig(split="train")
    pool: Pool = "mean"
    """mean of the patch tokens, or the class token (cls)."""
    tokens: bool = False
    """All patch tokens of each image (tokens x features, row by row of the grid) instead of one pooled row."""
    batch_size: Count = 64
    """Images that are encoded at once."""
    json: bool = False
    """Print what was written as JSON."""
