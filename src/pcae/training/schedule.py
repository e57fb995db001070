"""Schedules as pure functions of the optimizer step."""

import math

from pcae.settings.choices import Ramp

RATIO_STEP = 0.05
"""Drop ratios climb in steps of this size, so that compiled models meet only a few shapes."""


def learning_rate_at(step: int, *, steps: int, warmup_steps: int, peak: float, drops: tuple[float, ...] = ()) -> float:
    """Learning rate of step `step` (from 0): a straight line up to `peak` over the warm-up, then a half cosine to 0.

    With `drops` it stays level instead, and is a tenth of what it was from each of these shares of the run on.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if drops:
        return peak * 0.1 ** sum(step >= round(share * steps) for share in drops)
    return peak * half_cosine(step - warmup_steps, steps - warmup_steps)


def half_cosine(step: int, steps: int) -> float:
    """From 1 at step 0 down to 0 at step `steps`."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def drop_ratio_at(step: int, *, target: float, start_steps: int, ramp_steps: int, ramp: Ramp = "cosine") -> float:
    """Drop ratio of step `step` (from 0): 0 at first, then up to `target` over the ramp, then `target` (section 3.4).

    The ramp is EViT's cosine by step, or a straight line, rounded to RATIO_STEP.
    """
    if step < start_steps:
        return 0.0
    if step >= start_steps + ramp_steps:
        return target
    share = (step - start_steps) / ramp_steps
    risen = 0.5 * (1 - math.cos(math.pi * share)) if ramp == "cosine" else share
    return min(target, round(round(target * risen / RATIO_STEP) * RATIO_STEP, 2))


def momentum_at(step: int, *, steps: int, start: float, end: float) -> float:
    """Momentum of the teacher at step `step` (from 0): a half cosine from `start` to `end`; fixed when they agree."""
    return end - (end - start) * half_cosine(step, steps)
