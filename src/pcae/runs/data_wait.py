"""What can be done where a run waits for its data."""

import numpy as np

from pcae.data.batches import count_cores, training_workers
from pcae.data.images import Images
from pcae.data.packed.reading import is_packed
from pcae.settings.sources import each
from pcae.settings.training import RunSettings
from pcae.settings.values import expand
from pcae.training.distributed import pick_device

WAITING = 0.1
"""Share of the time spent waiting for data from which on there is something to do about it."""


def advice(share: float, config: RunSettings, images: Images) -> str | None:
    """One line on the share of the time spent waiting for data and what makes it smaller; None where it is small."""
    if share <= WAITING:
        return None
    workers = training_workers(config.reading, pick_device(config.run.device))
    ways = [f"more --workers read beside the training (now {workers})"] if workers < count_cores() else []
    if config.packs and not isinstance(images.items, np.ndarray) and images.stream is None:
        form = " --form pixels" if any(is_packed(expand(source)) for source in each(config.data)) else ""
        ways.append(f"images that were packed once need less work: pcae pack DATA OUT{form}")
    ways = ways or ["every core reads already: it takes more cores, or a larger model"]
    return f"waiting for data took {share:.0%} of the time; {'; '.join(ways)}"
