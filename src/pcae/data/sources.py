"""What DATA names: a folder, packed or not, a list, an image, WebDataset shards, a Hugging Face data set, a stream."""

import os
from pathlib import Path

from pcae.data.packed.reading import is_packed, list_packed
from pcae.data.shards.buckets import is_bucket, list_bucket
from pcae.data.shards.hugging_face import PREFIX, list_rows
from pcae.data.shards.names import SHARD, matching, of_split
from pcae.data.shards.remote import is_address
from pcae.data.shards.stream import is_stream, list_stream
from pcae.data.shards.tar import list_shards
from pcae.data.tables.cells import PARQUET, TABLES, names_files
from pcae.data.tables.listing import Listing, is_array, is_dicom, is_image, list_split
from pcae.data.tables.lists import read_list
from pcae.settings.choices import Split
from pcae.settings.text import visible
from pcae.settings.values import expand

ROWS = (".parquet", ".arrow", ".lance", ".h5", ".hdf5")
"""Files of rows, which the package datasets reads."""


def list_data(data: str, split: Split, stream: bool = False) -> Listing:
    """The images of a split; stream: read in order, where they lie in shards.

    Raises ValueError with the remedy when there are none.
    """
    if is_address(data) and is_bucket(data) and not stream:
        found = list_bucket(data, split)
    elif stream or is_stream(data):
        return list_stream(data, split)
    else:
        found = list_rows(data, split) if data.startswith(PREFIX) else list_path(data, split)
    if not len(found.items):
        raise ValueError(f"data {data!r} holds no image files (.jpg, .png, .webp, .tif, ...){instead(data, found)}")
    return found


def instead(data: str, found: Listing) -> str:
    """What a folder without images holds instead, and how that is read, if it is."""
    others = ", ".join(f"{count} {visible(suffix)}" for suffix, count in found.others.most_common(3))
    rows = not data.startswith(PREFIX) and any(found.others[suffix] for suffix in ROWS)
    return (f", but {others}" if others else "") + (f"; give {PREFIX}{data} for their rows" if rows else "")


def list_path(data: str, split: Split) -> Listing:
    """The images of a split of what lies on this machine."""
    path = expand(data)
    if is_packed(path):
        return list_packed(path, split)
    if path.is_dir():
        found = list_split(path, split)
        return found if len(found.items) else shards_below(path, split) or found
    if path.is_file() and path.suffix.lower() in {".txt", *TABLES}:
        return read_list(path, split)
    if path.is_file() and path.suffix.lower() == PARQUET and names_files(path):
        return read_list(path, split)
    if path.is_file() and (is_image(path.name) or is_array(path.name) or is_dicom(str(path))):
        return Listing([str(path)], [str(path)], None, str(path.parent))
    if SHARD.search(path.name) and (path.is_file() or "{" in data):
        shards = matching(str(path))
        return list_shards(of_split(shards, split), os.path.commonpath([str(Path(one).parent) for one in shards]))
    if path.is_file() and path.suffix.lower() in ROWS:
        raise ValueError(f"data {data!r} is read with its folder: give {PREFIX}{path.parent}")
    raise ValueError(
        f"data {data!r} is neither a folder, an image, a list (.txt, .csv, .tsv), .tar shards nor their index (.json); "
        "check the path"
    )


def shards_below(path: Path, split: Split) -> Listing | None:
    """The images of the shards in a folder, where it has any: by its split folders, else by the shards' names."""
    shards = list_split(path, split, lambda name: SHARD.search(name) is not None)
    return list_shards(of_split(shards.names, split), str(shards.root)) if shards.names else None
