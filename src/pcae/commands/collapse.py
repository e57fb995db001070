"""What looks wrong with a run, in plain words: numbers of its health that no healthy run has, and what to try."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from pcae.methods.choice import WITHOUT_TEACHER

Numbers = Mapping[str, float]
"""What a look found, by the names of metrics.jsonl."""
ALIKE = 0.5
"""Gray levels that pixels differ by, at most, where there is nothing to see."""
VANISHED = 0.25
"""Share of the spread and rank at the first look below which features have collapsed. On the built-in sample healthy
runs stay above 0.5, runs that collapse fall below 0.15 (docs/health.md)."""
POSITION = 0.95
"""Share of the targets' variance from which on a position alone says what they are."""
FLAT = 0.005
"""Standard deviation of the redundancy scores, cosines, below which they say nothing."""
SKIPPED = 0.05
"""Share of skipped steps from which on a run is in trouble."""
USUAL_MOMENTUM = 0.9
"""Momentum below which the teacher is nearly the student itself."""


def describe_data(pixels: UInt8[Tensor, "images channels height width"]) -> dict[str, str]:
    """What is wrong with the images themselves, by name: nothing in them, or the same in all."""
    values = pixels.float()
    if values.flatten(1).std(dim=1).max() < ALIKE:
        return {
            "blank": f"each of the {len(pixels)} images that were looked at is of one colour; nothing can be learned"
        }
    if values.std(dim=0, correction=0).max() < ALIKE:
        return {
            "constant": f"the data set is constant: each of the {len(pixels)} images that were looked at is the same "
            "picture, and nothing else can be learned; is this the right folder? see pcae check-data"
        }
    return {}


def find_faults(looks: Sequence[Numbers], settings: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong at the last look, by name, in sentences with numbers and what to try.

    looks: from the first on, with numbers by the names of metrics.jsonl. settings: the run's, by leaf name.
    """
    first, now = looks[0], looks[-1]
    found = {}
    lost = [vanished(name, what, first, now) for name, what in VANISHING.items() if f"health/{name}" in now]
    if any(lost):
        said = "; ".join(filter(None, lost))
        found["collapse"] = f"the features have collapsed: {said}; a low loss means nothing now. Try {cures(settings)}"
    if now["health/position_share"] > POSITION:
        found["position"] = (
            f"position alone decides {now['health/position_share']:.0%} of what is to be predicted, images hardly "
            "matter. Try --patch-scale 3 (patches of a few pixels), --crop-scale 0.2 1, or other images"
        )
    if now.get("health/score_std", 1) < FLAT:
        found["scores"] = (
            f"the redundancy scores of tokens hardly differ (standard deviation {now['health/score_std']:.2g}): which "
            f"of them are dropped is chance. Try {cures(settings)}"
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


def vanished(name: str, what: str, first: Numbers, now: Numbers) -> str | None:
    """Words for a number that is but a small share of what it was at the start."""
    start, value = first[f"health/{name}"], now[f"health/{name}"]
    return f"{what} {value:.2g} (at the start {start:.2g})" if value < VANISHED * start else None


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
