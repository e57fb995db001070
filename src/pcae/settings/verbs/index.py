"""What `pcae index` is told."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from tyro.conf import Positional, arg

from pcae.settings.bounds import Written
from pcae.settings.reading import THREADS
from pcae.settings.sources import Data


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Count the samples of shards, and write them down: an index file that pretrain takes as DATA.

    Only headers are read, through small ranges where the shards lie at addresses. It is WebDataset's own form (wids).
    """

    EXAMPLES = ("shards shards/index.json", "'s3://bucket/train-{000000..000999}.tar' train.json")

    data: Annotated[Data, Positional, arg(metavar="SHARDS")]
    """Folder of .tar or .parquet shards, one of them, or a pattern such as 's3://bucket/train-{000000..000999}.tar'."""
    out: Written
    """The .json file to write. Shards below its folder are named from there, so that both can move together."""
    threads: Annotated[int, Interval(ge=1, le=1024)] = THREADS
    """Shards that are counted at once."""
    json: bool = False
    """Print what was counted as JSON."""
