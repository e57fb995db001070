"""Several comparisons of one export, as one."""

import math
from collections.abc import Sequence

from pcae.weights.export.parity import Parity


def together(found: Sequence[Parity]) -> Parity:
    """One as it is. Of several, all in fp32: counts added up, so that an image counts once in each, and the largest of
    differences and gaps; `size` is that of the comparison whose difference comes closest to what is allowed, or goes
    furthest beyond it.
    """
    if len(found) == 1:
        return found[0]
    worst = max(found, key=lambda one: (math.isnan(one.max_difference), one.max_difference - one.allowed))
    kept = [one.same_kept or 0 for one in found]
    tops = [one.same_top1 for one in found if one.same_top1 is not None]
    return Parity(
        images=sum(one.images for one in found),
        max_difference=worst.max_difference,
        size=worst.size,
        tolerance=worst.tolerance,
        same_kept=sum(kept) if all(kept) else 0,
        ties=sum(one.ties or 0 for one in found),
        different=sum(one.different or 0 for one in found),
        widest_gap=max(one.widest_gap or 0.0 for one in found),
        least_cosine=min((one.least_cosine for one in found), key=lambda cosine: (not math.isnan(cosine), cosine)),
        same_top1=sum(tops) if tops else None,
    )
