"""`pcae index`: the samples of each shard counted once, into a file by which they are read as a stream."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pcae.commands.terminal import as_json, bar, console
from pcae.data.shard_list import THREADS, count_all, index_text
from pcae.data.stream import every_shard
from pcae.training.checkpoint import check_writable, replace_text


@dataclass(frozen=True, kw_only=True)
class Config:
    """Count the samples of shards, and write them down: an index file that pretrain takes as DATA.

    Only headers are read, through small ranges where the shards lie at addresses. It is WebDataset's own form (wids).
    """

    data: Annotated[str, Positional, arg(metavar="SHARDS")]
    """Folder of .tar or .parquet shards, one of them, or a pattern such as 's3://bucket/train-{000000..000999}.tar'."""
    out: Annotated[Path, Positional, arg(metavar="OUT")]
    """The .json file to write. Shards below its folder are named from there, so that both can move together."""
    threads: int = THREADS
    """Shards that are counted at once."""
    json: bool = False
    """Print what was counted as JSON."""


def run(config: Config) -> None:
    """Count and write."""
    if not 1 <= config.threads <= 1024:
        raise ValueError(f"threads must lie in [1, 1024], got {config.threads}")
    check_writable(config.out, ".json")
    counts = count_all(every_shard(config.data), config.threads, bar("counting samples"))
    replace_text(config.out, index_text(counts, config.out))
    samples = sum(counts.values())
    if config.json:
        as_json({"out": str(config.out), "shards": len(counts), "samples": samples})
    else:
        console.print(f"{samples} samples in {len(counts)} shards: {config.out}")
