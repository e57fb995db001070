"""What looks wrong with a run, in plain words: numbers of its health that no healthy run has, and what to try."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from pcae.settings.methods import WITHOUT_TEACHER

Numbers = Mapping[str, float | int]
"""What a look found, by the names of metrics.jsonl."""
ALIKE = 0.5
"""Gray levels that pixels differ by, at most, where there is nothing to see."""
VANISHED = 0.25
"""Share of the spread and rank at the first look below which features have collapsed. On the built-in sample healthy
runs stay above 0.5, runs that collapse fall below 0.15 (docs/health.md)."""
POSITION = 0.95
"""Share of the targets' variance from which on a position alone says what they are."""
FLAT = 0.1
"""Share of the redundancy scores' spread at the first look below which they say nothing."""
SKIPPED = 0.05
"""Share of skipped steps from which on a run is in trouble."""
USUAL_MOMENTUM = 0.9
"""Momentum below which the teacher is nearly the student itself."""


def describe_data(pixels: UInt8[Tensor, "images channels height width"]) -> dict[str, str]:
    """What is wrong with the images themselves, by name: nothing in them, or the same in all."""
    values = pixels.float()
    if values.flatten(1).std(dim=1).max() < ALIKE:
        return {
            "blank": f"each of the {len(pixels)} images that were looked at is of one colour, and nothing can be "
            "learned; 16-bit and float pixels may need --pixel-range, see pcae check-data"
        }
    if values.std(dim=0, correction=0).max() < ALIKE:
        return {
            "constant": f"the data set is constant: the images that were looked at ({len(pixels)}) are one and the "
            "same picture, and nothing else can be learned; is this the right folder? see pcae check-data"
        }
    return {}


def find_faults(looks: Sequence[Numbers], settings: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong at the last look, by name, in sentences with numbers and what to try.

    looks: from the first on, with numbers by the names of metrics.jsonl. settings: the run's, by leaf name.
    """
    first, now = looks[0], looks[-1]
    found = {}
    lost = [vanished(name, what, VANISHED, first, now) for name, what in VANISHING.items()]
    flat = vanished("score_std", "standard deviation", FLAT, first, now)
    if math.isnan(now["health/student_std"]):
        found["diverged"] = f"the student's features are not finite any more: it has diverged. Try {cures(settings)}"
    elif any(lost):
        said = "; ".join(filter(None, lost))
        found["collapse"] = f"the features have collapsed: {said}; a low loss means nothing now. Try {cures(settings)}"
    elif flat:
        found["scores"] = (
            f"the redundancy scores of tokens hardly differ any more, {flat}: which of them are dropped is chance. "
            f"Try {cures(settings)}"
        )
    if now.get("health/position_share", 0) > POSITION:
        found["position"] = (
            f"position alone decides {now['health/position_share']:.0%} of what is to be predicted, images hardly "
            "matter. Try --patch-scale 3 (patches of a few pixels), --crop-scale 0.2 1, or other images"
        )
    if now["skipped"] > SKIPPED * max(1, now["step"]):
        found["skipped"] = (
            f"{now['skipped']:.0f} of {now['step']:.0f} steps were skipped, their gradients not being finite. Try a "
            f"lower --base-lr (now {settings['base_lr']:g}), --clip-grad 1 or --precision fp32"
        )
    return found


VANISHING = {
    "target_std": "targets of different images are nearly the same, standard deviation",
    "student_std": "the student's features of different images are nearly the same, standard deviation",
    "student_rank": "the student's features vary in few directions, effective rank",
}


def vanished(name: str, what: str, share: float, first: Numbers, now: Numbers) -> str | None:
    """Words for a number that is less than a share of what it was at the start, where it is known."""
    start, value = (look.get(f"health/{name}", math.nan) for look in (first, now))
    return f"{what} {value:.2g} (at the start {start:.2g})" if value < share * start else None


def cures(settings: Mapping[str, Any]) -> str:
    """What to try against a collapse, the most likely first."""
    momentum, with_teacher = settings["momentum"], settings["method"] not in WITHOUT_TEACHER
    tries = []
    if with_teacher and momentum is not None and momentum < USUAL_MOMENTUM:
        tries.append(f"a higher --momentum (now {momentum:g}), or none, which is {1 - 4 / settings['steps']:.3g} here")
    if with_teacher and settings["target_norm"] == "none":
        tries.append("--target-norm token")
    tries.append(f"a lower --base-lr (now {settings['base_lr']:g}) or a longer warm-up (--warmup-epochs)")
    return "; ".join(tries)
