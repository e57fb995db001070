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
    A folder gets parts, which processes and machines share (torchrun, srun); finished parts are not done again.
    """

    EXAMPLES = (
        "photos --weights runs/photos --out features.npy",
        "photos --weights timm:vit_small_patch16_224 --pool cls --out features/",
    )

    data: AnyData
    """Folder, image, .txt or .csv list, WebDataset shards, `hf:NAME`, `sample` or `fashion-mnist`."""
    model: TrainedConfig
    out: Path
    """The .npy (float32, images x features) or .parquet file to write, or a folder for parts, which may be at an
    address (s3, gs, hf)."""
    shown: ShownConfig = ShownConfig(split="train")
    pool: Pool = "mean"
    """mean of the patch tokens, or the class token (cls)."""
    tokens: bool = False
    """All patch tokens of each image (tokens x features, row by row of the grid) instead of one pooled row."""
    batch_size: Count = 64
    """Images that are encoded at once."""
    part_rows: Count | None = None
    """Images of a part of a folder; without it 64 parts, of 512 to 16,384 images. Values do not depend on it, but for
    rounding."""
    json: bool = False
    """Print what was written as JSON."""
