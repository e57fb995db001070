"""What the cheap rows take, before anything is written: a few images are timed, then all labelled ones are read."""

import time
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from pcae.comparison.cell import quiet
from pcae.comparison.worth.budget import KEPT_BACK, Clock
from pcae.comparison.worth.drawn import Drawn, check_held_out
from pcae.comparison.worth.features import Seen, look, probed, read_pixels
from pcae.comparison.worth.held import ROOM, fit, hold, together, with_held
from pcae.comparison.worth.rows import Row
from pcae.comparison.worth.runs import Runs
from pcae.data.images import Images
from pcae.model.encoder import build_encoder
from pcae.model.pretrained import Pretrained
from pcae.terminal import console, duration
from pcae.weights.files import find, load

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
    side, workers = side_of(runs, rows, drawn[0]), runs.config.workers
    seen = {"pixels": Seen()}
    drawn = readable(runs, drawn, rows, clock)
    every = together(images for one in drawn for images in (one.train, one.held_out))
    few = every.at(np.arange(min(FIRST, len(every))))
    needed = seconds_of_encoding(runs, few, rows, drawn, seen)
    check_minutes(needed, clock)
    read_pixels(seen["pixels"], every, side, workers)
    began = time.perf_counter()
    probed(seen["pixels"], ["pixels"], drawn[0], runs.world.device)
    cheap = sum(not row.trained for row in rows) * len(drawn)
    check_minutes(needed + (time.perf_counter() - began) * cheap, clock)
    return drawn, seen


def readable(runs: Runs, drawn: list[Drawn], rows: Sequence[Row], clock: Clock) -> list[Drawn]:
    """The images without those that cannot be read, in memory where they fit.

    Raises ValueError where too many cannot be read, or the minutes are not enough to read them.
    """
    labelled = [images for one in drawn for images in (one.train, one.held_out)]
    every = together([*labelled, *(one.rest for one in drawn if one.rest is not None)])
    side = ceil(ROOM * max(max(size) for size in sizes(runs, rows, drawn[0])))
    memory = fit(every, side)
    every = every if memory else together(labelled)
    began, few = time.perf_counter(), every.at(np.arange(min(FIRST, len(every))))
    hold(few, side, 1.0, 0)
    check_minutes((time.perf_counter() - began) / len(few) * len(every), clock)
    if not memory:
        return drawn
    held, bad = hold(every, side, BAD_FILES, runs.config.workers)
    if bad:
        console.print(f"{len(bad)} of {len(every)} images cannot be read, such as {min(bad)!r}; they were left out")
    drawn = with_held([one.without(bad) for one in drawn], held)
    for one in drawn:
        check_held_out(one, runs.config.data)
    return drawn


def sizes(runs: Runs, rows: Sequence[Row], drawn: Drawn) -> list[tuple[int, int]]:
    """Height and width of the images of every network. Raises ValueError for weights that cannot be read."""
    given = [find(row.weights or "").facts.encoder.image_size for row in rows if row.kind == "given"]
    return [side_of(runs, rows, drawn), *(given if runs.config.image_size is None else [])]


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
    looks = sum(len(one.train) + len(one.held_out) for one in drawn)
    images = len({name for one in drawn for part in (one.train, one.held_out) for name in part.names})
    config = runs.pretraining(network_of(rows), drawn[0], 1, "speed").encoder
    found = 0.0
    with quiet():
        network = load(build_encoder(replace(config, channels=few.channels)), runs.world.device)
        found += timed(runs, Seen(), network, few, both=False) * looks
        for row in (row for row in rows if row.kind == "given"):
            model = load(row.weights or "", runs.world.device, runs.config.image_size)
            found += timed(runs, seen.setdefault(row.name, Seen()), model, few, both=True) * images
    return found


def timed(runs: Runs, seen: Seen, model: Pretrained, few: Images, *, both: bool) -> float:
    """Seconds that a model takes to look at an image."""
    began = time.perf_counter()
    look(seen, model, few, runs.config.workers, both=both)
    return (time.perf_counter() - began) / max(len(few), 1)


def check_minutes(needed: float, clock: Clock) -> None:
    """Raise ValueError where the minutes are not enough for the rows that train nothing."""
    if clock.spent() + needed + KEPT_BACK > clock.seconds:
        rows = clock.spent() + needed + KEPT_BACK
        raise ValueError(
            f"minutes {clock.seconds / 60:g} is too short: the rows that train nothing alone need about "
            f"{duration(rows)}, and training comes on top; give --minutes {max(1, round(4 * rows / 60))} or more"
        )
