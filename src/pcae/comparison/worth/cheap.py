"""What the cheap rows take, before anything is written: a few images are timed, then all labelled ones are read."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pcae.comparison.cell import quiet
from pcae.comparison.worth.budget import KEPT_BACK, Clock
from pcae.comparison.worth.drawn import Drawn, bare, check_classes, without
from pcae.comparison.worth.features import Seen, look, probed, read_pixels
from pcae.comparison.worth.rows import Row
from pcae.comparison.worth.runs import Runs
from pcae.data.images import Images
from pcae.data.several import chained
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained
from pcae.terminal import duration
from pcae.weights.files import load

BAD_FILES = 0.05
"""Share of the labelled images that may be unreadable; they are left out."""
FIRST = 16
"""Images by which it is measured how long all of them take."""


def look_at_all(
    runs: Runs, drawn: list[Drawn], rows: Sequence[Row], clock: Clock
) -> tuple[list[Drawn], dict[str, Seen]]:
    """The images that can be read, and features by row of those that were looked at.

    Raises ValueError for weights that do not fit, for more than BAD_FILES of the images that cannot be read, and where
    the minutes are not enough for the rows that train nothing.
    """
    every, seen = together(drawn), {"pixels": Seen()}
    few, side, workers = every.at(np.arange(min(FIRST, len(every)))), side_of(runs, rows, drawn[0]), runs.config.workers
    began = time.perf_counter()
    bad = read_pixels(seen["pixels"], few, side, 1.0, workers)
    needed = (time.perf_counter() - began) / len(few) * len(every)
    check_minutes(needed, clock)
    needed += seconds_of_encoding(runs, without(few, bad), rows, drawn, seen)
    check_minutes(needed, clock)
    bad |= read_pixels(seen["pixels"], every, side, BAD_FILES, workers)
    drawn = [one.without(bad) for one in drawn]
    for one in drawn:
        check_classes(one, runs.config.data)
    began = time.perf_counter()
    probed(seen["pixels"], ["pixels"], drawn[0], runs.world.device)
    cheap = sum(not row.trained for row in rows) * len(drawn)
    check_minutes(needed + (time.perf_counter() - began) * cheap, clock)
    return drawn, seen


def together(drawn: Sequence[Drawn]) -> Images:
    """The labelled images of all seeds, each once, without their labels."""
    parts = [bare(images) for one in drawn for images in (one.train, one.held_out)]
    known: set[str] = set()
    rest = []
    for part in parts:
        rows = [place for place, name in enumerate(part.names) if name not in known]
        rest.append(part.at(np.array(rows, dtype=int)))
        known |= set(part.names)
    return joined([part for part in rest if len(part)])


def joined(parts: Sequence[Images]) -> Images:
    """Several images as one, opened alike."""
    arrays = all(isinstance(part.items, np.ndarray) for part in parts)
    items = np.concatenate([part.items for part in parts]) if arrays else chained([part.items for part in parts])
    return replace(parts[0], items=items, names=[name for part in parts for name in part.names], said=None)


def side_of(runs: Runs, rows: Sequence[Row], drawn: Drawn) -> tuple[int, int]:
    """Height and width of the images of the network that is made here."""
    return runs.pretraining(network_of(rows), drawn, 1, "speed").encoder.image_size


def network_of(rows: Sequence[Row]) -> Row:
    """The row of the new network."""
    return next(row for row in rows if row.kind == "random")


def seconds_of_encoding(
    runs: Runs, few: Images, rows: Sequence[Row], drawn: Sequence[Drawn], seen: dict[str, Seen]
) -> float:
    """Seconds until all networks that are not trained have looked at all images, by what a few images take.

    Those are kept in `seen`. Raises ValueError for weights that cannot be read, or do not take these images.
    """
    looks, images = sum(len(one.train) + len(one.held_out) for one in drawn), len(together(drawn))
    config = runs.pretraining(network_of(rows), drawn[0], 1, "speed").encoder
    found = 0.0
    with quiet():
        network = load(build_encoder(replace(config, channels=few.channels)), runs.world.device)
        found += timed(runs, Seen(), network, few) * looks
        for row in (row for row in rows if row.kind == "given"):
            model = load(row.weights or "", runs.world.device, runs.config.image_size)
            found += timed(runs, seen.setdefault(row.name, Seen()), model, few) * images
    return found


def timed(runs: Runs, seen: Seen, model: Pretrained, few: Images) -> float:
    """Seconds that a model takes to look at an image."""
    began = time.perf_counter()
    look(seen, model, few, runs.config.workers)
    return (time.perf_counter() - began) / max(len(few), 1)


def check_minutes(needed: float, clock: Clock) -> None:
    """Raise ValueError where the minutes are not enough for the rows that train nothing."""
    if clock.spent() + needed + KEPT_BACK > clock.seconds:
        rows = clock.spent() + needed + KEPT_BACK
        raise ValueError(
            f"minutes {clock.seconds / 60:g} is too short: the rows that train nothing alone need about "
            f"{duration(rows)}, and training comes on top; give --minutes {max(1, round(4 * rows / 60))} or more"
        )
