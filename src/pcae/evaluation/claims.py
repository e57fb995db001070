"""What the paper says of dropped and kept tokens, measured: the mean, the frequencies, how far apart survivors lie."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from pcae.evaluation.diversity import Trace, trace
from pcae.evaluation.estimates import Verdict, judge
from pcae.model.blocks import Stage
from pcae.model.encoder import Encoder
from pcae.model.reduction import Reduction
from pcae.model.tokens import Grid, all_ids, gather, locate, split, upcast

KEEPS = (0.9, 0.75, 0.5, 0.25)
"""Shares of the tokens that stay where the shift of the mean is measured, besides all tokens but one."""
FREQUENCIES = {
    "energy": "energy of the pixels",
    "high energy": "energy above half Nyquist",
    "high share": "its share of the energy",
    "outside the mean": "share of the tokens' energy outside the mean",
}
DISTANCES = ("distance of two", "distance to the nearest")
Kept = Literal["ptr", "random", "reversed"]
"""Which tokens stay: those least like the mean (the method), a random draw, those most like the mean."""
Values = Mapping[str, Tensor]
"""What was measured, by name: Float[images ...] of one seed, Float[seeds images ...] of all."""


class Shift(NamedTuple):
    """How far a mean moved: the distance over the old mean's length, and the cosine between old and new."""

    distance: Float[Tensor, " batch"]
    cosine: Float[Tensor, " batch"]


def mean_shift(tokens: Float[Tensor, "batch tokens dim"], kept: Int[Tensor, "batch kept"]) -> Shift:
    """What happens to the mean token when only the tokens at the places `kept` stay (section 3.2)."""
    before, after = upcast(tokens).mean(dim=1), upcast(gather(tokens, kept)).mean(dim=1)
    distance = (after - before).norm(dim=-1) / before.norm(dim=-1)
    return Shift(distance, torch.cosine_similarity(before, after, dim=-1))


def counts_of(tokens: int) -> list[int]:
    """How many of the tokens stay: all but one, and the shares KEEPS."""
    return [tokens - 1, *(min(tokens - 1, max(1, math.floor(tokens * keep + 1e-9))) for keep in KEEPS)]


def shifts(found: Trace, noise: Float[Tensor, "batch tokens"]) -> dict[str, Float[Tensor, "batch stages counts"]]:
    """The shift of the mean at every stage that the trace went through, by how many tokens stay and which."""
    by_stage = [shifts_at(found.before[stage.block + 1], stage, noise) for stage in found.encoded.stages]
    return {name: torch.stack([one[name] for one in by_stage], dim=1) for name in by_stage[0]}


def shifts_at(
    tokens: Float[Tensor, "batch tokens dim"], stage: Stage, noise: Float[Tensor, "batch all"]
) -> dict[str, Float[Tensor, "batch counts"]]:
    """The shift of the mean at one stage."""
    scores: dict[Kept, Tensor] = {
        "ptr": stage.scores,
        "random": noise.gather(1, stage.ids),
        "reversed": -stage.scores,
    }
    found = {}
    for name, score in scores.items():
        moved = [mean_shift(tokens, split(score, count)[0]) for count in counts_of(tokens.shape[1])]
        found[f"shift of the mean, {name}"] = torch.stack([one.distance for one in moved], dim=1)
        found[f"cosine of the means, {name}"] = torch.stack([one.cosine for one in moved], dim=1)
    return found


def spectrum(
    pixels: Float[Tensor, "batch tokens patch_dim"], patch_size: tuple[int, int]
) -> Float[Tensor, "batch tokens bins"]:
    """Energy of the pixels of each patch, less their mean, by frequency: whole cycles along the patch's shorter side.

    The mean over channels of the squared 2-D Fourier transform, in rings; all bins together are the variance.
    """
    planes = upcast(pixels).unflatten(-1, (-1, *patch_size))
    planes = planes - planes.mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.fft2(planes, norm="forward").abs().square().mean(dim=2)
    return power.flatten(-2) @ F.one_hot(rings(patch_size)).to(power)


def rings(patch_size: tuple[int, int]) -> Int[Tensor, " frequencies"]:
    """The bin of each coefficient of a patch's Fourier transform, row by row."""
    rows, columns = (torch.fft.fftfreq(side) for side in patch_size)
    return (torch.hypot(rows[:, None], columns[None]) * min(patch_size)).round().long().flatten()


def high_energy(spectra: Float[Tensor, "*batch bins"], patch_size: tuple[int, int]) -> Float[Tensor, "*batch"]:
    """The part of the energy above half the Nyquist frequency, which is four pixels a cycle."""
    return spectra[..., min(patch_size) // 4 + 1 :].sum(dim=-1)


def frequencies(
    found: Trace, pixels: Float[Tensor, "batch tokens patch_dim"], patch_size: tuple[int, int]
) -> dict[str, Float[Tensor, "batch stages ..."]]:
    """Energies of kept, dropped and all patches at every stage; those of a random draw are, on average, of all.

    `spectrum` and `energy` are of pixels in [0, 1]; `high energy` is what lies above half the Nyquist frequency;
    `outside the mean` is the part of the tokens' own energy that is not in the mean token of the stage.
    """
    spectra, values = spectrum(pixels, patch_size), {}
    for stage in found.encoded.stages:
        places = locate(stage.ids, stage.kept_ids)
        kept, dropped = parts(gather(spectra, stage.ids), places)
        for name, group in (("kept", kept), ("all", spectra), ("dropped", dropped)):
            mean = group.mean(dim=1)
            values.setdefault(f"spectrum, {name}", []).append(mean)
            values.setdefault(f"energy, {name}", []).append(mean.sum(dim=-1))
            high = high_energy(mean, patch_size)
            values.setdefault(f"high energy, {name}", []).append(high)
            least = torch.finfo(mean.dtype).tiny  # patches of one colour have no energy at all
            values.setdefault(f"high share, {name}", []).append(high / mean.sum(dim=-1).clamp_min(least))
        outside = outside_mean(found.before[stage.block + 1])
        for name, group in zip(("kept", "dropped", "all"), (*parts(outside, places), outside), strict=True):
            energies = group.sum(dim=1)
            values.setdefault(f"outside the mean, {name}", []).append(energies[:, 0] / energies[:, 1])
    return {name: torch.stack(by_stage, dim=1) for name, by_stage in values.items()}


def outside_mean(tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens 2"]:
    """Of each token the energy that is not the mean token's, and all of it."""
    tokens = upcast(tokens)
    rest = tokens - tokens.mean(dim=1, keepdim=True)
    return torch.stack([rest.square().sum(dim=-1), tokens.square().sum(dim=-1)], dim=-1)


def parts(
    values: Float[Tensor, "batch tokens dim"], kept: Int[Tensor, "batch kept"]
) -> tuple[Float[Tensor, "batch kept dim"], Float[Tensor, "batch dropped dim"]]:
    """What stands at the places `kept`, and the rest."""
    is_kept = torch.zeros(values.shape[:2], device=values.device).scatter(1, kept, 1.0)
    return gather(values, kept), gather(values, split(is_kept, values.shape[1] - kept.shape[1])[0])


def spread(ids: Int[Tensor, "batch kept"], grid: Grid) -> Float[Tensor, "batch 2"]:
    """How far apart tokens lie, in patches: mean distance of two of them, and to the nearest other; 0 for one alone."""
    if ids.shape[1] == 1:
        return torch.zeros(len(ids), 2, device=ids.device)
    places = torch.stack([ids // grid[1], ids % grid[1]], dim=-1).float()
    distances = (places[:, :, None] - places[:, None]).norm(dim=-1)
    pairs = distances.sum(dim=(1, 2)) / (ids.shape[1] * (ids.shape[1] - 1))
    itself = torch.eye(ids.shape[1], device=ids.device, dtype=torch.bool)
    return torch.stack([pairs, distances.masked_fill(itself, torch.inf).amin(dim=-1).mean(dim=1)], dim=1)


def survivors(
    found: Trace, at_once: Trace, noise: Float[Tensor, "batch tokens"], grid: Grid
) -> dict[str, Float[Tensor, " batch"]]:
    """How far apart the tokens lie that are left in the end: after all stages, after one alone, of a random draw.

    `grid` is the mean distance of any two patches: what a random draw has on average.
    """
    ids = found.encoded.ids
    everywhere = all_ids(len(noise), noise.shape[1], noise.device)
    drawn = split(noise, ids.shape[1])[0]
    groups = {"stages": ids, "one stage": at_once.encoded.ids, "random": drawn, "grid": everywhere}
    values = {name: spread(places, grid) for name, places in groups.items()}
    return {
        f"{kind}, {name}": value[:, place] for name, value in values.items() for place, kind in enumerate(DISTANCES)
    }


def examine(
    encoder: Encoder,
    patches: Float[Tensor, "batch tokens patch_dim"],
    pixels: Float[Tensor, "batch tokens patch_dim"],
    found: Trace,
    reduction: Reduction,
    noise: Float[Tensor, "batch tokens"],
) -> dict[str, Float[Tensor, "batch ..."]]:
    """All that the claims need of a batch. found: its trace under `reduction`. pixels: the patches in [0, 1]."""
    keep = reduction.share ** len(reduction.after)
    at_once = trace(encoder, patches, replace(reduction, keep=keep, after=reduction.after[:1]))
    return {
        **shifts(found, noise),
        **frequencies(found, pixels, encoder.patch_size),
        **survivors(found, at_once, noise, encoder.grid),
    }


def diversity_verdicts(after: Mapping[str, Float[Tensor, "seeds images layers"]]) -> list[Verdict]:
    """Section 3.3 of the diversities of the last layer, by kind of dropping."""
    present = [name for name in ("ptr", "random", "sampled", "none") if name in after]
    return [
        judge("3.3", f"diversity: {more} > {less}", "last layer", after[more][..., -1], after[less][..., -1])
        for more, less in pairwise(present)
    ]


def verdicts(values: Values, blocks: Sequence[int]) -> list[Verdict]:
    """Sections 3.2 and 3.3 of what `examine` found, over seeds and images. blocks: after which the stages stand."""
    return [*shift_verdicts(values, blocks), *frequency_verdicts(values, blocks), *spread_verdicts(values)]


def shift_verdicts(values: Values, blocks: Sequence[int]) -> Iterator[Verdict]:
    """Whether dropping the tokens most like the mean moves it least, by stage and how many stay."""
    for other, words in (("random", "a random drop"), ("reversed", "dropping the least similar")):
        claim = f"{words} moves the mean more than ptr"
        for stage, block in enumerate(blocks):
            for place, share in enumerate(("all but one", *(f"{keep:.0%}" for keep in KEEPS))):
                moved = [values[f"shift of the mean, {name}"][:, :, stage, place] for name in (other, "ptr")]
                yield judge("3.2", claim, f"after block {block}, {share} kept", *moved)


def frequency_verdicts(values: Values, blocks: Sequence[int]) -> Iterator[Verdict]:
    """Whether what stays has the higher frequencies, by stage."""
    for what, words in FREQUENCIES.items():
        for stage, block in enumerate(blocks):
            groups = [values[f"{what}, {name}"][:, :, stage] for name in ("kept", "dropped")]
            yield judge("3.2", f"{words}: kept > dropped", f"after block {block}", *groups)


def spread_verdicts(values: Values) -> Iterator[Verdict]:
    """Whether stages keep survivors farther apart."""
    for kind in DISTANCES:
        for other in ("one stage", "random"):
            groups = [values[f"{kind}, {name}"] for name in ("stages", other)]
            yield judge("3.3", f"{kind}: stages > {other}", "survivors", *groups)
