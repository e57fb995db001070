"""Schedules as pure functions of the optimizer step."""

import math


def warmup_cosine(step: int, *, steps: int, warmup_steps: int, peak: float) -> float:
    """Learning rate of step `step` (from 0): a straight line up to `peak` over the warm-up, then a half cosine to 0."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * half_cosine(step - warmup_steps, steps - warmup_steps)


def half_cosine(step: int, steps: int) -> float:
    """From 1 at step 0 down to 0 at step `steps`."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def momentum_at(step: int, *, steps: int, start: float, end: float) -> float:
    """Momentum of the teacher at step `step` (from 0): a half cosine from `start` to `end`; fixed when they agree."""
    return end - (end - start) * half_cosine(step, steps)
