"""What `pcae embed` is told, and `pcae neighbours`, which searches what it writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pcae.settings.bounds import AnyData, Count
from pcae.settings.choices import Pool
from pcae.settings.sources import Data
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
    ADDRESSES = ("out",)

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


@dataclass(frozen=True, kw_only=True)
class NeighboursConfig:
    """Find the images whose features are most like those of others, by cosine similarity.

    FEATURES is what `pcae embed` wrote. Up to 100,000 rows the search is exact. Above it goes through an index, which
    is built once, lies beside FEATURES and is mapped into memory.
    """

    EXAMPLES = (
        "photos.parquet photos/cat.jpg",
        "photos.parquet new --weights runs/photos --neighbours 3 --out near.jsonl",
    )
    USUAL = "features data weights neighbours out exact index pool split device json"

    features: Annotated[Path, Positional, arg(metavar="FEATURES")]
    """The .npy or .parquet file of `pcae embed`, or its folder of parts."""
    data: Annotated[Data, Positional, arg(metavar="QUERY")]
    """Images by their paths as FEATURES has them; with --weights any: folder, image, .txt or .csv list, ..."""
    weights: str | None = None
    """The weights that FEATURES were made with, which embed the queries: run folder, .safetensors or .pth file, folder
    of transformers' or timm's, timm:NAME or hf-hub:OWNER/NAME."""
    neighbours: Count = 10
    """Images that are named for each query; an image is no neighbour of its own."""
    out: Path | None = None
    """The .jsonl file to write, a line a query."""
    exact: bool = False
    """Compare with every row, however many these are."""
    index: Path | None = None
    """File of the index, which is used, or built where it is not there; without it FEATURES.index, from 100,001 rows
    on."""
    index_threads: Count = 1
    """Threads that build the index. With one, the same features make the same file."""
    pool: Pool = "mean"
    """With --weights, as FEATURES were made: mean of the patch tokens, or the class token (cls)."""
    image_size: tuple[int, int] | None = None
    """Height and width of the queries in pixels; without it, the model's own."""
    batch_size: Count = 64
    """Queries that are encoded at once."""
    shown: ShownConfig = ShownConfig(split="train")
    device: str = "auto"
    """Where queries are encoded: cpu, cuda, mps, ...; auto is the first accelerator, else the CPU."""
    json: bool = False
    """Print as JSON."""
