"""Does an exported model answer as PyTorch does? Outputs by their largest difference, kept sets by their scores."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from pcae.model.blocks import Stage
from pcae.weights.export.deployed import Answer

TIE = 1e-5
"""Gap between two scores below which rounding decides which of two tokens stays."""
Reference = Callable[[Tensor], Answer]
"""PyTorch's answer to a batch of uint8 images."""
Reopened = Callable[[Tensor], tuple[Tensor, ...]]
"""An exported model's answer: logits or features, then the kept ids of every stage."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How an exported model's answers compare with PyTorch's.

    max_difference: of the logits or features, over the images that keep the same sets at every stage; `tolerance` is
    what it may be. same_kept: how many of the images do. ties: images that do not, because tokens were exchanged whose
    scores differ by less than 1e-5. different: images whose exchanged tokens differ by more, by up to `widest_gap`.
    """

    images: int
    max_difference: float
    tolerance: float
    same_kept: int
    ties: int
    different: int
    widest_gap: float

    @property
    def holds(self) -> bool:
        """Whether the exported model may take the place of the original."""
        return not self.different and self.same_kept > 0 and self.max_difference <= self.tolerance

    def describe(self) -> str:
        """The numbers in a line."""
        kept = f"{self.same_kept} of {self.images} images keep the same tokens, {self.ties} differ by a tie"
        wide = f", {self.different} by scores up to {self.widest_gap:.2g} apart" if self.different else ""
        return f"largest difference {self.max_difference:.2g} (at most {self.tolerance:g}), {kept}{wide}"

    def to_plain(self) -> dict[str, Any]:
        """The numbers by name."""
        return asdict(self) | {"holds": self.holds}


def compare(
    reference: Reference,
    reopened: Reopened,
    batches: Iterable[Tensor],
    tolerance: float,
) -> Parity:
    """Run both on all batches of uint8 images. Raises ValueError when there are none."""
    differences, gaps = [], []
    with torch.inference_mode():
        for images in batches:
            answer, (output, *kept) = reference(images), reopened(images)
            assert output.shape == answer.output.shape and len(kept) == len(answer.stages)
            differences += (output - answer.output).abs().flatten(1).amax(dim=1).tolist()
            gaps += [exchanged(answer.stages, kept, row) for row in range(images.shape[0])]
    if not gaps:
        raise ValueError("there is no image to check the exported model on; give others by --data")
    same = [difference for difference, gap in zip(differences, gaps, strict=True) if gap is None]
    wide = [gap for gap in gaps if gap is not None and not gap < TIE]
    return Parity(
        images=len(gaps),
        max_difference=math.nan if any(map(math.isnan, same)) else max(same, default=math.nan),
        tolerance=tolerance,
        same_kept=len(same),
        ties=len(gaps) - len(same) - len(wide),
        different=len(wide),
        widest_gap=max((gap for gap in gaps if gap is not None), default=0.0),
    )


def exchanged(stages: Iterable[Stage], kept: Iterable[Tensor], row: int) -> float | None:
    """How far apart the scores of the tokens are that an image's first differing stage exchanged; None if none differs.

    Later stages see other tokens then, so the first one alone counts.
    """
    gaps = (gap_of(stage, ids, row) for stage, ids in zip(stages, kept, strict=True))
    return next((gap for gap in gaps if gap is not None), None)


def gap_of(stage: Stage, kept_ids: Int[Tensor, "batch kept"], row: int) -> float | None:
    """How much more redundant a token is that was kept than one that was dropped for it; None for the same sets.

    Infinite when ids were kept that the stage did not see, or another number of them.
    """
    ours, theirs = set(stage.kept_ids[row].tolist()), set(kept_ids[row].tolist())
    if ours == theirs:
        return None
    scores = dict(zip(stage.ids[row].tolist(), stage.scores[row].tolist(), strict=True))
    if len(theirs) != len(ours) or not theirs <= scores.keys():
        return math.inf
    return max(scores[place] for place in theirs - ours) - min(scores[place] for place in ours - theirs)
