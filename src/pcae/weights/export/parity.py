"""Does an exported model answer as PyTorch does? Outputs by their largest difference, kept sets by their scores."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcae.model.blocks import Stage
from pcae.settings.choices import Precision
from pcae.weights.export.deployed import Answer

TIE = 1e-5
"""Gap between two scores, as a share of the largest, below which rounding decides which of two tokens stays."""
TIES: dict[Precision, float] = {"fp32": TIE, "fp16": 2**-10}
"""The same by precision: float16's step at 1 is 2^-10. Eight bits move tokens that are no ties."""
MERGE_TIE = 1e-6
"""Difference of two cosines below which rounding decides into which of two kept tokens another is merged."""
TOP1: dict[Precision, float] = {"fp16": 0.98, "int8": 0.95}
"""Share of the images whose most likely class must be the same."""
COSINE: dict[Precision, float] = {"fp16": 0.999, "int8": 0.98}
"""Least cosine similarity that an image's features must have with PyTorch's, without a classifier."""
Reference = Callable[[Tensor], Answer]
"""PyTorch's answer to a batch of uint8 images."""
Reopened = Callable[[Tensor], tuple[Tensor, ...]]
"""An exported model's answer: logits or features, then the kept ids of every stage."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How an exported model's answers compare with PyTorch's.

    max_difference: of the logits or features, over the images that keep the same sets at every stage. size: of
    PyTorch's largest answer; `tolerance` is what the difference may be for an answer of size 1. same_kept: how many of
    the images keep the same. ties: images that do not, because tokens were exchanged whose scores differ by less than
    the precision's tie, or that come to something else because it was a tie which kept token took another one in.
    different: images whose exchanged tokens differ by more, by up to `widest_gap`, a share of the
    stage's largest score. same_top1: images whose most likely class is the same, of all; None for features.
    least_cosine: of an image's answer with PyTorch's, over all of them.

    In int8 nobody asks which tokens stay (`same_kept` and what follows are None): the difference is over all images.
    """

    precision: Precision = "fp32"
    images: int
    max_difference: float
    size: float
    tolerance: float
    same_kept: int | None
    ties: int | None
    different: int | None
    widest_gap: float | None
    least_cosine: float
    same_top1: int | None = None

    @property
    def allowed(self) -> float:
        """What the difference may be in float32: rounding is a share of the answers."""
        return self.tolerance * self.size

    @property
    def holds(self) -> bool:
        """Whether the exported model may take the place of the original."""
        if self.precision == "fp32":
            return not self.different and bool(self.same_kept) and self.max_difference <= self.allowed
        if math.isnan(self.least_cosine):  # an answer is no number
            return False
        if self.same_top1 is None:
            return self.least_cosine >= COSINE[self.precision]
        return self.same_top1 >= TOP1[self.precision] * self.images

    @property
    def limit(self) -> str:
        """What must hold, in words."""
        if self.precision == "fp32":
            return f"at most {self.allowed:.3g}, for answers up to {self.size:.3g}"
        if self.same_top1 is None:
            return f"a cosine similarity of {COSINE[self.precision]:g} at least"
        return f"the same most likely class for {TOP1[self.precision]:.0%} at least"

    def describe(self) -> str:
        """The numbers in a line."""
        parts = [f"largest difference {self.max_difference:.2g}"]
        if self.precision == "fp32":
            parts = [f"{parts[0]} ({self.limit})"]
        elif self.same_top1 is None:
            parts += [f"least cosine similarity {self.least_cosine:.4g} ({self.limit})"]
        else:
            parts += [f"the same most likely class for {self.same_top1} of {self.images} images ({self.limit})"]
        if self.same_kept is not None:
            gap = f"{100 * (self.widest_gap or 0):.2g} % of the largest"
            wide = f", {self.different} by scores up to {gap} apart" if self.different else ""
            kept = f"{self.same_kept} of {self.images} images keep the same tokens, {self.ties} differ by a tie"
            parts += [f"{kept}{wide}"]
        return ", ".join(parts)

    def to_plain(self) -> dict[str, Any]:
        """The numbers by name."""
        return asdict(self) | {"allowed": self.allowed, "limit": self.limit, "holds": self.holds}


def compare(
    reference: Reference,
    reopened: Reopened,
    batches: Iterable[Tensor],
    tolerance: float,
    *,
    ranks: bool = False,
    precision: Precision = "fp32",
) -> Parity:
    """Run both on all batches of uint8 images.

    tolerance: as a share of the largest answer. ranks: the answers are logits, whose largest is compared too. An answer
    without kept ids is compared without them. precision: of the file, which says what a tie is. Raises ValueError when
    there are no images, and for answers of another shape.
    """
    differences, cosines, gaps, tops, tied, size = [], [], [], [], [], 0.0
    with torch.inference_mode():
        for images in batches:
            answer, (output, *kept) = reference(images), reopened(images)
            check_shapes(answer, output, kept)
            differences += (output - answer.output).abs().flatten(1).amax(dim=1).tolist()
            cosines += torch.cosine_similarity(output.flatten(1), answer.output.flatten(1)).tolist()
            size = max(size, answer.output.abs().max().item())
            tops += (output.argmax(-1) == answer.output.argmax(-1)).tolist() if ranks else []
            stages = answer.stages if precision in TIES else ()
            margins = decided(stages, len(images))
            gaps += [exchanged(stages, kept, margins, row) for row in range(len(images))]
            tied += (margins.amin(dim=0) < MERGE_TIE).tolist()
    if not gaps:
        raise ValueError("there is no image to check the exported model on; give others by --data")
    beyond = [tie and difference > tolerance * size for tie, difference in zip(tied, differences, strict=True)]
    gaps = [0.0 if gap is None and other else gap for gap, other in zip(gaps, beyond, strict=True)]
    same = [difference for difference, gap in zip(differences, gaps, strict=True) if gap is None]
    return Parity(
        precision=precision,
        images=len(gaps),
        max_difference=math.nan if any(map(math.isnan, same)) else max(same, default=math.nan),
        size=size,
        tolerance=tolerance,
        least_cosine=math.nan if any(map(math.isnan, cosines)) else min(cosines),
        same_top1=sum(tops) if ranks else None,
        **counted(gaps, TIES.get(precision)),
    )


def counted(gaps: list[float | None], tie: float | None) -> dict[str, Any]:
    """How many images keep the same tokens, by their gaps, and others by ties or not; None where there are no ties."""
    if tie is None:
        return dict.fromkeys(("same_kept", "ties", "different", "widest_gap"))
    found = [gap for gap in gaps if gap is not None]
    wide = [gap for gap in found if not gap < tie]
    return {
        "same_kept": len(gaps) - len(found),
        "ties": len(found) - len(wide),
        "different": len(wide),
        "widest_gap": max(found, default=0.0),
    }


def check_shapes(answer: Answer, output: Tensor, kept: list[Tensor]) -> None:
    """Raise ValueError for an answer that is none of the network's."""
    if output.shape != answer.output.shape:
        ours, theirs = tuple(answer.output.shape[1:]), tuple(output.shape[1:])
        raise ValueError(f"the file answers {theirs} values for an image, the weights {ours}: it is of another model")
    if len(kept) not in (0, len(answer.stages)):
        raise ValueError(
            f"the file drops tokens {len(kept)} times, the weights {len(answer.stages)} times; give its --drop-ratio"
        )


def decided(stages: Sequence[Stage], images: int) -> Float[Tensor, "places images"]:
    """By how much the merging of each image was decided before each stage, and after all: the least till there."""
    least = [torch.full((images,), math.inf)]
    for stage in stages:
        least.append(least[-1] if stage.margin is None else least[-1].minimum(stage.margin().cpu()))
    return torch.stack(least)


def exchanged(stages: Iterable[Stage], kept: Iterable[Tensor], margins: Tensor, row: int) -> float | None:
    """How far apart the scores of the tokens are that an image's first differing stage exchanged; None if none differs,
    and 0 where a stage before it merged by a tie (`decided`), since both saw other tokens then.

    Nobody knows without `kept`. Later stages see other tokens then, so the first one alone counts.
    """
    before = (margins[:, row] >= MERGE_TIE).tolist()
    gaps = ((gap_of(stage, ids, row), sure) for stage, ids, sure in zip(stages, kept, before, strict=False))
    return next((gap if sure or gap == math.inf else 0.0 for gap, sure in gaps if gap is not None), None)


def gap_of(stage: Stage, kept_ids: Int[Tensor, "batch kept"], row: int) -> float | None:
    """How much more redundant a token is that was kept than one that was dropped for it, as a share of the image's
    largest score; None for the same sets. So it is one measure of cosines and of attention, whose scores are small.

    Infinite when ids were kept that the stage did not see, or another number of them. A score that is no number ranks
    nowhere: programs put it first or last, so whoever keeps or drops its token is not wrong.
    """
    ours, theirs = set(stage.kept_ids[row].tolist()), set(kept_ids[row].tolist())
    if ours == theirs:
        return None
    scores = dict(zip(stage.ids[row].tolist(), stage.scores[row].tolist(), strict=True))
    if len(theirs) != len(ours) or not theirs <= scores.keys():
        return math.inf
    kept = [scores[place] for place in theirs - ours if not math.isnan(scores[place])]
    dropped = [scores[place] for place in ours - theirs if not math.isnan(scores[place])]
    gap = max(kept) - min(dropped) if kept and dropped else 0.0
    return gap and gap / max(abs(score) for score in scores.values() if math.isfinite(score))
