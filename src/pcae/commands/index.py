"""`pcae index`: the samples of each shard counted once, into a file by which they are read as a stream."""

from pcae.data.shards.index import Indexed, index_shards
from pcae.settings.verbs.index import IndexConfig
from pcae.terminal import answer, console


def run(config: IndexConfig) -> None:
    """Count, and say what was written."""
    answer(index_shards(config), config.json, show)


def show(found: Indexed) -> None:
    """Say what was written."""
    console.print(f"{found.samples} samples in {found.shards} shards: {found.out}")
