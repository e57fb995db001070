"""What a model answers for every image, in parts that processes share; a classifier's logits, and back from there."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pcae.data.images import Images
from pcae.data.unreadable import BadFiles, Batch
from pcae.inference.feature_files import values_of
from pcae.inference.held_out import Answers, Watch
from pcae.inference.trained import AS_TRAINED, facts_of, open_shown, open_trained, whole
from pcae.model.pretrained import Classifier, Pretrained
from pcae.settings.trained import RuleConfig
from pcae.settings.values import place_of
from pcae.settings.verbs.embed import EmbedConfig
from pcae.settings.verbs.evaluate import EvaluateConfig
from pcae.settings.verbs.predict import PredictConfig
from pcae.sharing.in_parts import InParts, Shared, Work
from pcae.sharing.part_folder import PartFolder, check_folder
from pcae.training.distributed import World, open_world


def answer_in_parts(
    config: EmbedConfig | PredictConfig,
    out: Path,
    work_of: Callable[[Pretrained, Images], Work],
    rule: RuleConfig = AS_TRAINED,
) -> tuple[Pretrained, Shared]:
    """Do the work of a verb into a folder of parts; every process calls it. The model, and what was done.

    Raises ValueError for what cannot be, and as `InParts.run` does.
    """
    check_folder(out, config.data)
    with open_world(config.model.device) as world:
        model = world.main_first(lambda: open_trained(config.model, rule, world.device))
        bad_files = world.main_first(lambda: open_shown(config.data, config.shown, model))
        work, folder = work_of(model, bad_files.images), PartFolder(place_of(out))
        size, workers = config.batch_size, config.shown.workers
        return model, InParts(work, folder, bad_files, world, size, workers, config.part_rows).run()


def answers_in_parts(
    classifier: Classifier,
    ratio: float,
    model: Pretrained,
    bad_files: BadFiles,
    config: EvaluateConfig,
    folder: Path,
    batch_size: int,
    world: World,
    watch: Watch | None,
) -> Iterator[Answers]:
    """The logits of this process's share of the parts, which are made where they are not there yet; every process calls
    it, and reads to the end."""
    import pyarrow

    logits = pyarrow.list_(pyarrow.float32(), len(model.facts.classes or ()))
    schema = pyarrow.schema({"place": pyarrow.int64(), "logits": logits})
    said = {"drop_ratio": ratio, "rule": vars(model.facts.rule), "batch_size": batch_size}
    facts = partial(facts_of, model, bad_files.images, config.data, said)
    rows = partial(answered, classifier, model, schema)
    work = Work("evaluating", whole(model, bad_files.images), facts, schema, rows)
    place = PartFolder(f"{place_of(folder)}/drop-{ratio:g}")
    parts = InParts(work, place, bad_files, world, batch_size, config.shown.workers)
    count = parts.run().parts
    bad_files.add(parts.bad_in_all())
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
