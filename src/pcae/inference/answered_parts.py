"""A classifier's logits for every image, in parts that processes share, and from there."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pcae.data.unreadable import BadFiles, Batch
from pcae.inference.feature_files import values_of
from pcae.inference.held_out import Answers, Watch
from pcae.inference.trained import facts_of, whole
from pcae.model.pretrained import Classifier, Pretrained
from pcae.settings.sources import Data
from pcae.sharing.in_parts import InParts, Work
from pcae.sharing.part_folder import PartFolder, place_of
from pcae.training.distributed import World


def answers_in_parts(
    classifier: Classifier,
    ratio: float,
    model: Pretrained,
    bad_files: BadFiles,
    data: Data,
    folder: Path,
    world: World,
    workers: int,
    batch_size: int,
    watch: Watch | None,
) -> Iterator[Answers]:
    """The logits of this process's share of the parts, which are made where they are not there yet; every process calls
    it, and reads to the end."""
    import pyarrow

    classes = len(model.facts.classes or ())
    logits = pyarrow.list_(pyarrow.float32(), classes)
    schema = pyarrow.schema({"place": pyarrow.int64(), "logits": logits})
    said = {"drop_ratio": ratio, "rule": vars(model.facts.rule), "batch_size": batch_size}
    facts = partial(facts_of, model, bad_files.images, data, said)
    work = Work(
        "evaluating", whole(model, bad_files.images), facts, schema, partial(answered, classifier, model, schema)
    )
    place = PartFolder(f"{place_of(folder)}/drop-{ratio:g}")
    parts = InParts(work, place, bad_files, world, batch_size, workers)
    count = parts.run().parts
    parts.know_bad()
    for number in range(world.rank, count, world.size):
        table = place.table_of(number)
        if len(table):
            found, places = torch.from_numpy(values_of(table["logits"]).copy()), table["place"].to_pylist()
            if watch is not None:
                watch(found, places)
            yield found, places


@torch.inference_mode()
def answered(classifier: Classifier, model: Pretrained, schema: Any, batch: Batch) -> Any:
    """The logits of a batch, as pyarrow has them."""
    import pyarrow

    if not batch.indices:
        return schema.empty_table()
    flat = pyarrow.array(classifier(batch.pixels.to(model.device)).float().cpu().flatten().numpy())
    logits = pyarrow.FixedSizeListArray.from_arrays(flat, schema.field("logits").type.list_size)
    return pyarrow.table({"place": pyarrow.array(batch.indices, pyarrow.int64()), "logits": logits}).cast(schema)
