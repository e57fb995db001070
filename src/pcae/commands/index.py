"""`pcae index`: the samples of each shard counted once, into a file by which they are read as a stream."""

from pcae.data.shards.index import Indexed, index_shards
from pcae.terminal import command, console


def show(found: Indexed) -> None:
    """Say what was written."""
    console.print(f"{found.samples} samples in {found.shards} shards: {found.out}")


run = command(index_shards, show)
"""Count, and say what was written."""
