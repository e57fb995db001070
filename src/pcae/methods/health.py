"""Whether a run still learns: what a method makes of some images, always the same ones, says of it."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pcae.data.augment import Normalise
from pcae.methods.choice import Pretraining
from pcae.methods.teacher import Teacher, spread
from pcae.model.encoder import Encoder
from pcae.model.tokens import gather, patchify, split, upcast
from pcae.training.randomness import StepRandom


class Look(NamedTuple):
    """What a method makes of images, nothing of it with a gradient.

    student: patch features of what the student sees. targets, ids: what it is to predict, and where in the grid.
    teacher: patch features that the teacher keeps. twin: the teacher's features of what the student sees, where both
    have the same width and patches. scores: redundancy of the tokens, by stage. The last three are there where there is
    a teacher.
    """

    student: Float[Tensor, "batch visible dim"]
    targets: Float[Tensor, "batch wanted target_dim"]
    ids: Int[Tensor, "batch wanted"]
    teacher: Float[Tensor, "batch kept teacher_dim"] | None = None
    twin: Float[Tensor, "batch visible dim"] | None = None
    scores: tuple[Float[Tensor, "batch _"], ...] = ()


def examine(
    method: Pretraining,
    pixels: UInt8[Tensor, "images channels height width"],
    normalise: Normalise,
    random: StepRandom,
    size: int,
) -> dict[str, Float[Tensor, ""]]:
    """The numbers of `measure` for whole images, of which the method sees `size` at a time."""
    looks = [
        look(method, normalise(pixels[first : first + size]), random.of(first, first + size))
        for first in range(0, len(pixels), size)
    ]
    return measure(together(looks), math.prod(method.student.grid))


def together(looks: list[Look]) -> Look:
    """Looks at parts of the images as one."""
    scores = tuple(torch.cat(stage) for stage in zip(*(one.scores for one in looks), strict=True))
    named = {name: [getattr(one, name) for one in looks] for name in ("student", "targets", "ids", "teacher", "twin")}
    there = {name: torch.cat(values) for name, values in named.items() if values[0] is not None}
    return Look(**there, scores=scores)


@torch.no_grad()
def look(method: Pretraining, images: Float[Tensor, "batch channels height width"], random: StepRandom) -> Look:
    """Features and targets of normalised images, hidden as in a step with these random numbers.

    The student sees the visible patches alone, without the mask tokens of SimMIM; of several views, a part of the pool.
    """
    student, grid = method.student, method.student.grid
    patches = patchify(images, student.patch_size)
    noise = random.uniform("mask", patches.shape[1])
    visible_ids, _ = split(noise, method.n_visible)
    _, hidden_ids = split(noise, patches.shape[1] - method.counts[0])
    visible = gather(patches, visible_ids)
    targets = method.targets(patches, hidden_ids, random)
    seen = student(visible, visible_ids, grid).tokens
    if targets.encoded is None:
        return Look(seen, targets.features, targets.ids)
    assert isinstance(method.teacher, Teacher)
    teacher = method.teacher.encoder
    return Look(
        seen,
        targets.features,
        targets.ids,
        teacher=targets.encoded.tokens,
        twin=teacher(visible, visible_ids, grid).tokens if like(teacher) == like(student) else None,
        scores=tuple(stage.scores for stage in targets.encoded.stages),
    )


def like(encoder: Encoder) -> tuple[int, tuple[int, int]]:
    """What two encoders must have alike for one's features of patches to be held against the other's."""
    return encoder.width, encoder.patch_size


def measure(look: Look, positions: int) -> dict[str, Float[Tensor, ""]]:
    """Numbers of a run's health by name, on the device that the features lie on; positions: of the grid.

    *_std: standard deviation over the images of the mean feature. *_rank: its effective rank, at most the number of
    images and the width. target_std: standard deviation over the images of targets at the same position.
    position_share: share of the targets' variance that their position alone explains; both NaN where there are too few
    targets to tell. score_std: standard deviation of the redundancy scores within an image, mean over stages.
    teacher_student_cosine: between features of the same patches. Features that are not finite have NaN.
    """
    within, share = position_share(look.targets, look.ids, positions)
    numbers = {**of_features("student", look.student), "target_std": within, "position_share": share}
    if look.teacher is not None:
        numbers |= of_features("teacher", look.teacher)
    if look.scores:
        numbers["score_std"] = torch.stack([scores.std(dim=1).mean() for scores in look.scores]).mean()
    if look.twin is not None:
        similar = torch.cosine_similarity(upcast(look.student), upcast(look.twin), dim=-1)
        numbers["teacher_student_cosine"] = similar.mean()
    return numbers


def of_features(whose: str, tokens: Float[Tensor, "batch tokens dim"]) -> dict[str, Float[Tensor, ""]]:
    """Spread and effective rank of the images' mean features."""
    return {f"{whose}_std": spread(tokens), f"{whose}_rank": effective_rank(upcast(tokens).mean(dim=1))}


def effective_rank(features: Float[Tensor, "images dim"]) -> Float[Tensor, ""]:
    """RankMe (Garrido et al. 2023): the exponential of the entropy of the singular values, as shares of their sum.

    NaN for features that are not finite.
    """
    features = upcast(features)
    finite = features.isfinite().all()
    values = torch.linalg.svdvals(torch.where(finite, features, 0))
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.where(finite, torch.special.entr(shares).sum().exp(), torch.nan)


def position_share(
    targets: Float[Tensor, "batch wanted dim"], ids: Int[Tensor, "batch wanted"], positions: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Standard deviation of targets around the mean of their position, and the share of all variance that these means
    explain.

    Unbiased: chance explains nothing (adjusted R squared); at least 0. Both are NaN for less than two targets a
    position.
    """
    values, places = upcast(targets).flatten(0, 1), ids.flatten()
    count = torch.zeros(positions, dtype=values.dtype, device=values.device)
    count.index_add_(0, places, torch.ones_like(places, dtype=values.dtype))
    means = torch.zeros(positions, values.shape[1], dtype=values.dtype, device=values.device)
    means.index_add_(0, places, values)
    means /= count.clamp_min(1).unsqueeze(1)
    used = (count > 0).sum()
    within = (values - means[places]).square().sum(dim=0) / (len(values) - used).clamp_min(1)
    total = values.var(dim=0)
    share = 1 - within.sum() / total.sum().clamp_min(torch.finfo(values.dtype).tiny)
    share = torch.where(total.sum() == 0, 1.0, share.clamp_min(0))
    known = len(values) >= 2 * used
    return torch.where(known, within.sqrt().mean(), torch.nan), torch.where(known, share, torch.nan)


IMAGES = 128
"""Images that are looked at, spread over the data."""


def most_directions(images: int, width: int | None) -> int:
    """What the effective rank of the mean features of so many images, or of those of them that are looked at, cannot
    exceed."""
    return min(images, IMAGES, width or IMAGES)
