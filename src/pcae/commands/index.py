"""`pcae index`: the samples of each shard counted once, into a file by which they are read as a stream."""

from pcae.data.shards.shard_list import count_all, index_text
from pcae.data.shards.stream import every_shard
from pcae.settings.verbs.index import IndexConfig
from pcae.terminal import as_json, bar, console
from pcae.writing import check_writable, replace_text


def run(config: IndexConfig) -> None:
    """Count and write."""
    check_writable(config.out, ".json")
    counts = count_all(every_shard(config.data), config.threads, bar("counting samples"))
    replace_text(config.out, index_text(counts, config.out))
    samples = sum(counts.values())
    if config.json:
        as_json({"out": str(config.out), "shards": len(counts), "samples": samples})
    else:
        console.print(f"{samples} samples in {len(counts)} shards: {config.out}")
