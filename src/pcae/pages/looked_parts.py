"""What every image of a data set is, in parts that processes share, and from there."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pcae.data.batches import scanning_workers
from pcae.data.images import Images
from pcae.data.survey import SKETCH, Facts, look
from pcae.data.unreadable import BadFiles, Batch, Read
from pcae.settings.values import place_of
from pcae.sharing.in_parts import InParts, Work
from pcae.sharing.part_folder import PartFolder
from pcae.training.distributed import World

AT_ONCE = 16
"""Images of a batch."""


def look_in_parts(name: str, images: Images, folder: Path, workers: int | None, world: World) -> list[Facts]:
    """The facts of all images of a split, in the main process; every process calls it."""
    import pyarrow

    workers = scanning_workers(images, len(images)) if workers is None else workers
    schema = pyarrow.schema({"facts": pyarrow.string(), "sketch": pyarrow.binary()})
    read, facts = partial(look, images), partial(decided_by, images)
    work = Work(f"reading {name}", read, facts, schema, partial(as_rows, schema), made=some_facts)
    place = PartFolder(f"{place_of(folder)}/{name}")
    count = InParts(work, place, BadFiles(images, 0.0), world, AT_ONCE, workers).run().parts
    tables = (place.table_of(number) for number in range(count)) if world.is_main else ()
    return [facts_in(row) for table in tables for row in table.to_pylist()]


def decided_by(images: Images) -> dict[str, Any]:
    """What decides the facts."""
    how = {"channels": images.channels, "pixel_range": images.pixel_range, "bands": images.bands}
    return {"files": images.digest(), **how}


def some_facts(read: list[Read]) -> Batch:
    """Facts in place of pixels."""
    return Batch([one.pixels for one in read], [one.image for one in read], {})  # pyright: ignore[reportArgumentType]


def as_rows(schema: Any, batch: Batch) -> Any:
    """A row for each image: its small picture as bytes, all else as JSON."""
    import pyarrow

    looks: Any = batch.pixels
    rows = [
        {
            "facts": json.dumps(asdict(one) | {"sketch": None}),
            "sketch": None if one.sketch is None else one.sketch.tobytes(),
        }
        for one in looks
    ]
    return pyarrow.Table.from_pylist(rows, schema)


def facts_in(row: dict[str, Any]) -> Facts:
    """The facts that a row has."""
    said: dict[str, Any] = json.loads(row["facts"])
    said = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    if row["sketch"] is not None:
        said["sketch"] = np.frombuffer(row["sketch"], np.uint8).reshape(SKETCH, SKETCH)
    return Facts(**said)
