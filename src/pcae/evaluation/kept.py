"""What a network keeps of images, as data: positions and scores, stage by stage, at any drop ratio."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from pcae.methods.teacher import Teacher
from pcae.model.blocks import Stage
from pcae.model.pretrained import Pretrained
from pcae.model.reduction import Reduction, count_kept, more_than_half
from pcae.model.tokens import all_ids, count_visible, gather, patchify, present, split
from pcae.settings.choices import CriterionName
from pcae.settings.methods import TeacherConfig
from pcae.training.randomness import StepRandom

BATCH = 16
"""Images that are encoded at once."""
SCORES: dict[CriterionName, str] = {
    "mean-similarity": "similarity to the mean token",
    "random": "random number",
    "token-importance": "attention received, negative",
    "saliency": "attention from CLS, negative",
    "decomposition": "leverage, negative",
    "bipartite": "similarity to the nearest token of the other half",
}
"""What each criterion ranks tokens by; the highest are dropped."""


@dataclass(frozen=True)
class Kept:
    """What was kept of some images, on the CPU.

    shown_ids: positions of the tokens that the network was shown. stages: what each reduction saw, scored and kept;
    where nothing was dropped, scores are NaN.
    """

    shown_ids: Int[Tensor, "images shown"]
    stages: tuple[Stage, ...]

    def left_ids(self) -> list[Int[Tensor, "images _"]]:
        """Positions that are there at the input and after each stage."""
        return [self.shown_ids, *(stage.kept_ids for stage in self.stages)]

    def fates(self, positions: int) -> Int[Tensor, "images positions"]:
        """How far each position came: 0 was not shown, n fell at stage n, one more than there are stages stayed."""
        return torch.stack([present(ids, (1, positions)).flatten(1) for ids in self.left_ids()]).sum(dim=0)


Decide = Callable[[UInt8[Tensor, "batch channels height width"], StepRandom], Kept]


@dataclass(frozen=True)
class Way:
    """One way in which a model drops tokens.

    name: masked, whole or classifier. first: what the tokens are that it is shown, where they are not the whole image.
    after: blocks after which it drops tokens. n_shown: tokens at its input. ratio: share that each stage drops, as
    asked for. criterion: what tokens are ranked by. at: what decides at a drop ratio.
    """

    name: str
    first: str | None
    after: tuple[int, ...]
    n_shown: int
    ratio: float
    criterion: CriterionName
    device: torch.device
    at: Callable[[float], Decide]

    @property
    def score(self) -> str:
        """What tokens are ranked by, in words."""
        return SCORES[self.criterion]

    def describe(self) -> str:
        """One line: what is shown to the network, and what it drops where."""
        blocks = ", ".join(map(str, self.after))
        what = f"{self.n_shown} {self.first or 'patches'}" + (" patches" if self.first else "")
        return f"{self.name}: {what}; {100 * self.ratio:.3g} % dropped after block {blocks}, by {self.score}"

    def ratios(self) -> list[float]:
        """0, .1, .2, ... as long as tokens are left, and the ratio that was asked for."""
        return sorted({ratio / 10 for ratio in range(10) if self.leaves_some(ratio / 10)} | {self.ratio})

    def leaves_some(self, ratio: float) -> bool:
        """Whether tokens are left after the last stage, and the criterion can drop as many."""
        counts = [self.n_shown]
        try:
            for _ in self.after:
                counts.append(count_kept(counts[-1], 1 - ratio))
        except ValueError:
            return False
        return self.criterion != "bipartite" or more_than_half(counts) is None

    def columns(self, kept: Kept) -> list[tuple[str, Int[Tensor, "images _"]]]:
        """A title and what is there, for the tokens that it is shown, if not all, and after each stage."""
        titles = [self.first or "image", *(f"after block {block}" for block in self.after)]
        return list(zip(titles, kept.left_ids(), strict=True))[self.first is None :]


def decide(way: Way, pixels: UInt8[Tensor, "images channels height width"], ratio: float, seed: int) -> Kept:
    """What is kept of the images at a drop ratio. Masks depend on the seed and on an image's place among them alone."""
    decides, parts = way.at(ratio), []
    for first in range(0, len(pixels), BATCH):
        rows = slice(first, min(first + BATCH, len(pixels)))
        parts.append(decides(pixels[rows].to(way.device), StepRandom(seed, 0, len(pixels), way.device, rows)))
    return together(parts)


def together(parts: Sequence[Kept]) -> Kept:
    """The decisions on several batches as those on one."""
    stages = zip(*(part.stages for part in parts), strict=True)
    columns = [list(zip(*(part[:4] for part in stage), strict=True)) for stage in stages]
    joined = tuple(
        Stage(blocks[0], torch.cat(ids), torch.cat(scores), torch.cat(kept)) for blocks, ids, scores, kept in columns
    )
    return Kept(torch.cat([part.shown_ids for part in parts]), joined)


def way_of_teacher(model: Pretrained, config: TeacherConfig, mask_ratio: float | None) -> Way:
    """What the model keeps as a teacher, of the patches that a random mask hides or, without a mask ratio, of whole
    images. Raises ValueError for settings that fit neither each other nor the model, and that drop nothing."""
    encoder, tokens = model.encoder, model.encoder.grid[0] * model.encoder.grid[1]
    n_visible = 0 if mask_ratio is None else count_visible(tokens, mask_ratio)
    reduction = Teacher(encoder, config, tokens - n_visible).reduction
    check_drops(reduction, tokens - n_visible)

    def at(ratio: float) -> Decide:
        teacher = Teacher(encoder, replace(config, keep_ratio=1 - ratio), tokens - n_visible)

        def keeps(pixels: UInt8[Tensor, "batch channels height width"], random: StepRandom) -> Kept:
            patches = patchify(in_size(model.normalise(pixels), encoder.image_size), encoder.patch_size)
            _, ids = split(random.uniform("mask", patches.shape[1]), n_visible)
            return as_kept(ids, teacher(gather(patches, ids), ids, random).encoded.stages, reduction.after)

        return keeps

    name, first = ("whole", None) if mask_ratio is None else ("masked", "hidden")
    ratio = round(1 - reduction.share, 9)
    return Way(name, first, reduction.after, tokens - n_visible, ratio, config.criterion, model.device, at)


def in_size(
    images: Float[Tensor, "batch channels height width"], size: tuple[int, int]
) -> Float[Tensor, "batch channels rows columns"]:
    """Images in the size of a fixed teacher, which may have other patches than the student, as in the training."""
    return images if images.shape[-2:] == size else F.interpolate(images, size, mode="bicubic", antialias=True)


def way_of_classifier(model: Pretrained, drop_ratio: float) -> Way:
    """What a classifier keeps of whole images. Raises ValueError for a model without one, and for a ratio that drops
    nothing or leaves nothing."""
    reduction = model.classifier(drop_ratio).reduced.reduction
    tokens = model.encoder.grid[0] * model.encoder.grid[1]
    check_drops(reduction, tokens)

    def at(ratio: float) -> Decide:
        classifier = model.classifier(ratio)

        @torch.no_grad()
        def keeps(pixels: UInt8[Tensor, "batch channels height width"], _: StepRandom) -> Kept:
            stages = classifier.reduced.encode(classifier.normalise(pixels)).stages
            return as_kept(all_ids(len(pixels), tokens, pixels.device), stages, reduction.after)

        return keeps

    criterion = model.facts.rule.criterion
    return Way("classifier", None, reduction.after, tokens, drop_ratio, criterion, model.device, at)


def check_drops(reduction: Reduction, tokens: int) -> None:
    """Raise ValueError for a reduction that drops nothing: there is nothing to show."""
    if not reduction.after or count_kept(tokens, reduction.share) == tokens:
        raise ValueError(
            f"{len(reduction.after)} stages that keep {reduction.share:g} of the tokens drop nothing; there is nothing "
            "to show: use 1 stage or more and a keep_ratio below 1 (a classifier: a drop_ratio above 0)"
        )


def as_kept(ids: Int[Tensor, "batch shown"], stages: tuple[Stage, ...], after: tuple[int, ...]) -> Kept:
    """The decisions, on the CPU; at a drop ratio of 0 the blocks make none and everything stays."""
    ids = ids.cpu()
    scores: Float[Tensor, "batch shown"] = torch.full(ids.shape, torch.nan)
    made = tuple(Stage(stage.block, stage.ids.cpu(), stage.scores.cpu(), stage.kept_ids.cpu()) for stage in stages)
    return Kept(ids, made or tuple(Stage(block, ids, scores, ids) for block in after))
