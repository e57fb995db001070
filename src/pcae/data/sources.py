"""What DATA names: a folder, packed or not, a list, an image, WebDataset shards, a Hugging Face data set, a stream."""

import os
from pathlib import Path

from pcae.data.packed.reading import is_packed, list_packed
from pcae.data.shards.hugging_face import PREFIX, list_rows
from pcae.data.shards.names import SHARD, matching, of_split
from pcae.data.shards.stream import is_stream, list_stream
from pcae.data.shards.tar import list_shards
from pcae.data.tables.listing import Listing, is_image, list_split, read_list
from pcae.settings.choices import Split
from pcae.settings.text import visible
from pcae.settings.values import expand


def list_data(data: str, split: Split, stream: bool = False) -> Listing:
    """The images of a split; stream: read in order, where they lie in shards.

    Raises ValueError with the remedy when there are none.
    """
    if stream or is_stream(data):
        return list_stream(data, split)
    found = list_rows(data, split) if data.startswith(PREFIX) else list_path(data, split)
    if not len(found.items):
        others = ", ".join(f"{count} {visible(suffix)}" for suffix, count in found.others.most_common(3))
        raise ValueError(
            f"data {data!r} holds no image files (.jpg, .png, .webp, .tif, ...)" + (f", but {others}" if others else "")
        )
    return found


def list_path(data: str, split: Split) -> Listing:
    """The images of a split of what lies on this machine."""
    path = expand(data)
    if is_packed(path):
        return list_packed(path, split)
    if path.is_dir():
        found = list_split(path, split)
        return found if len(found.items) else shards_below(path, split) or found
    if path.is_file() and path.suffix.lower() in {".txt", ".csv"}:
        return read_list(path)
    if path.is_file() and is_image(path.name):
        return Listing([str(path)], [str(path)], None, str(path.parent))
    if SHARD.search(path.name) and (path.is_file() or "{" in data):
        shards = matching(str(path))
        return list_shards(of_split(shards, split), os.path.commonpath([str(Path(one).parent) for one in shards]))
    raise ValueError(
        f"data {data!r} is neither a folder, an image, a list (.txt, .csv), .tar shards nor their index (.json); "
        "check the path"
    )


def shards_below(path: Path, split: Split) -> Listing | None:
    """The images of the shards in a folder, where it has any: by its split folders, else by the shards' names."""
    shards = list_split(path, split, lambda name: SHARD.search(name) is not None)
    return list_shards(of_split(shards.names, split), shards.root) if shards.names else None
