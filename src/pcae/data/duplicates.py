"""Images that are there twice: the same bytes, or the same picture in another size or format, mirrored, or a part."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

from pcae.data.excerpts import best_fits
from pcae.data.survey import Facts

BLANK = 2.0
"""Standard deviation of a small copy, in levels of any of its colours, below which an image shows nothing."""


@dataclass(frozen=True)
class Alike:
    """Images that are near duplicates of one another, by index, and the least of the similarities that tie them."""

    members: list[int]
    similarity: float


def exact_duplicates(facts: Sequence[Facts]) -> list[list[int]]:
    """Indices of files with the same bytes, in groups of two or more."""
    groups = defaultdict(list)
    for index, one in enumerate(facts):
        if one.digest:
            groups[one.digest].append(index)
    return [group for group in groups.values() if len(group) > 1]


def blank_images(facts: Sequence[Facts]) -> list[int]:
    """Indices of images of one colour."""
    return [index for index, one in enumerate(facts) if one.sketch is not None and one.contrast < BLANK]


def near_duplicates(facts: Sequence[Facts], alike: float, device: torch.device) -> list[Alike]:
    """Groups of images whose sketches correlate by at least `alike`; exact copies count once, blank images not at all.

    Recompressed, resized, reformatted and slightly brighter copies correlate by 0.985 and more, different photographs
    seldom by 0.9; crops are not found. Each image is tied to the 16 most similar ones before it. The cost grows with
    the square of the number of images.
    """
    places = comparable(facts)
    if len(places) < 2:
        return []
    sketches = torch.stack([torch.from_numpy(facts[place].sketch) for place in places])
    similarity, before = closest_before(sketches.to(device), directions)
    return groups_of(similarity.masked_fill(similarity < alike, -1.0), before, places)


def comparable(facts: Sequence[Facts]) -> list[int]:
    """Indices of images that show something; of exact copies the first."""
    seen, places = set(), []
    for index, one in enumerate(facts):
        if one.sketch is not None and one.sketch.std() >= BLANK and one.digest not in seen:
            seen.add(one.digest)
            places.append(index)
    return places


def near_by_features(
    features: Float[Tensor, "images dim"],
    small: UInt8[Tensor, "images channels side side"],
    places: Sequence[int],
    alike: float,
    device: torch.device,
) -> list[Alike]:
    """Groups of images, `places`, of which one shows the other or a part of it, mirrored or not: by small copies,
    details of which correlate by at least `alike`. Each is held against the 16 before it that have the most similar
    features.

    Features are whitened first: what all images share, or vary in most, says little of two.
    """
    if len(features) < 2:
        return []
    similarity, before = closest_before(whitened(features).to(device), partial(F.normalize, dim=1))
    rows, columns = (similarity > -1).nonzero().unbind(1)
    fit = best_fits(small, torch.stack([rows, before[rows, columns]], dim=1), device)
    tied = torch.full_like(similarity, -1.0)
    tied[rows, columns] = fit.masked_fill(fit < alike, -1.0)
    return groups_of(tied, before, places)


def whitened(features: Float[Tensor, "images dim"], floor: float = 0.05) -> Float[Tensor, "images components"]:
    """Features along their principal axes, each divided by its spread and `floor` of the largest one."""
    centred = features - features.mean(0)
    _, spread, axes = torch.linalg.svd(centred, full_matrices=False)
    return centred @ axes.T / (spread + floor * spread[0].clamp_min(torch.finfo(spread.dtype).tiny))


def directions(sketches: UInt8[Tensor, "images side side"]) -> Float[Tensor, "images dim"]:
    """Sketches as vectors of mean 0 and length 1: brightness and contrast do not count."""
    flat = sketches.flatten(1).float()
    return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)


def closest_before(
    images: Shaped[Tensor, "images ..."], vectors: Callable[[Tensor], Tensor], most: int = 16, block: int = 4096
) -> tuple[Float[Tensor, "images most"], Int[Tensor, "images most"]]:
    """For each image the largest similarities to those that stand before it, -1 where there are none, and where.

    vectors: makes vectors of length 1 of some images; two blocks of them are held at once.
    """
    similarity, place = [], []
    for start in range(0, len(images), block):
        rows = vectors(images[start : start + block])
        best = torch.full((len(rows), most), -1.0, device=rows.device)
        where = torch.zeros_like(best, dtype=torch.long)
        for left in range(0, start + 1, block):
            scores = rows @ vectors(images[left : left + block]).T
            if left == start:
                scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(), -1.0)
            top, column = scores.topk(min(most, scores.shape[1]), dim=1)
            best, order = torch.cat([best, top], dim=1).topk(most, dim=1)
            where = torch.cat([where, column + left], dim=1).gather(1, order)
        similarity.append(best)
        place.append(where)
    return torch.cat(similarity).cpu(), torch.cat(place).cpu()


def groups_of(
    similarity: Float[Tensor, "images most"], before: Int[Tensor, "images most"], places: Sequence[int]
) -> list[Alike]:
    """Images tied to some before them, directly or through others, in groups of `places`. similarity: of those that are
    tied, else -1."""
    parent = list(range(len(places)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    ties = (similarity > -1).nonzero().tolist()
    for row, column in ties:
        one, two = sorted((root(row), root(int(before[row, column]))))
        parent[two] = one
    least: dict[int, float] = defaultdict(lambda: 1.0)
    members: dict[int, list[int]] = defaultdict(list)
    for row, column in ties:
        least[root(row)] = min(least[root(row)], float(similarity[row, column]))
    for row in range(len(places)):
        members[root(row)].append(places[row])
    return [Alike(members[first], least[first]) for first in sorted(least)]
