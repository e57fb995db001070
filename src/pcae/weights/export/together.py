"""Several comparisons of one export, as one."""

import math
from collections.abc import Sequence

from pcae.weights.export.parity import Parity


def together(found: Sequence[Parity]) -> Parity:
    """Counts added up, so that an image counts once in each, and the largest of differences and gaps; `size` is that of
    the comparison whose difference comes closest to what is allowed, or goes furthest beyond it."""
    worst = max(found, key=lambda one: (math.isnan(one.max_difference), one.max_difference - one.allowed))
    tops = [one.same_top1 for one in found if one.same_top1 is not None]
    return Parity(
        images=sum(one.images for one in found),
        max_difference=worst.max_difference,
        size=worst.size,
        tolerance=worst.tolerance,
        same_kept=sum(one.same_kept for one in found) if all(one.same_kept for one in found) else 0,
        ties=sum(one.ties for one in found),
        different=sum(one.different for one in found),
        widest_gap=max(one.widest_gap for one in found),
        same_top1=sum(tops) if tops else None,
    )
