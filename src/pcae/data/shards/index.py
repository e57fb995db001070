"""The samples of each shard counted once, into a file by which they are read as a stream."""

from dataclasses import dataclass
from pathlib import Path

from pcae.data.shards.shard_list import count_all, index_text
from pcae.data.shards.stream import every_shard
from pcae.settings.bounds import check_bounds
from pcae.settings.sources import each
from pcae.settings.verbs.index import IndexConfig
from pcae.terminal import bar
from pcae.writing import check_writable, replace_text


@dataclass(frozen=True)
class Indexed:
    """What was counted, and where it is written."""

    out: Path
    shards: int
    samples: int


def index_shards(config: IndexConfig) -> Indexed:
    """Count and write. Raises ValueError for shards that cannot be read."""
    check_bounds(config)
    check_writable(config.out, ".json")
    shards = [shard for source in each(config.data) for shard in every_shard(source)]
    counts = count_all(shards, config.threads, bar("counting samples"))
    replace_text(config.out, index_text(counts, config.out))
    return Indexed(config.out, len(counts), sum(counts.values()))
