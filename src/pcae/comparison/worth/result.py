"""What came of it: rows with intervals, differences, curves and the verdict, from the cells alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from pcae.comparison.worth.cells import FINETUNED, FROZEN
from pcae.comparison.worth.curve import POINTS, Outlook, outlook
from pcae.comparison.worth.paired import Sure, sure
from pcae.comparison.worth.rows import Row
from pcae.comparison.worth.verdict import TRAINED, Way, best_of, verdict
from pcae.comparison.worth.work import Work
from pcae.pages.worth_page import MEASURES
from pcae.results import Block, Result, Table
from pcae.settings.sources import in_words
from pcae.terminal import duration

SIMPLE = ("pixels", "random", "given")
"""Rows that were not pre-trained on these images."""


@dataclass(frozen=True)
class Answered:
    """Whether a row was right on each held-out image, 1 or 0, and which were looked at, by seed and image."""

    right: Float[NDArray, "seeds images"]
    there: Bool[NDArray, "seeds images"]

    def sure(self) -> Sure:
        """The share that is right."""
        return sure(self.right, self.there)

    def less(self, other: "Answered") -> Sure:
        """How much more often it is right than another, on the images and seeds that both have."""
        return sure(self.right - other.right, self.there & other.there)


@dataclass(frozen=True)
class Measured:
    """A row with what was measured of it.

    answered: by measure. points: by measure and share of the time. took: seconds of the pre-training of each point,
    mean over seeds.
    """

    row: Row
    answered: dict[str, Answered]
    points: dict[str, dict[float, Answered]] = field(default_factory=dict)
    took: dict[float, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """Of its longest pre-training."""
        return self.took.get(POINTS[-1])

    def best(self) -> str:
        """The measure in which it does best."""
        return max(self.answered, key=lambda name: self.answered[name].sure().mean)

    def ahead(self, measure: str) -> Outlook | None:
        """What more time would bring, by a measure that each point has."""
        points = self.points.get(measure, {})
        if len(points) < 2:
            return None
        there = np.logical_and.reduce([one.there for one in points.values()])
        return outlook({share: one.right for share, one in points.items()}, there)

    def curve(self) -> str:
        """The measure whose curve is drawn: a linear classifier's, which every point has."""
        return "linear"

    def way(self) -> Way:
        """The row by its best measure, for the verdict."""
        use = self.best()
        ahead = self.ahead(use if use in self.points else self.curve())
        return Way(self.row.name, self.row.kind, use, self.answered[use].sure().mean, self.seconds, ahead)


@dataclass(frozen=True, repr=False)
class Worth(Result):
    """Whether pre-training is worth it: `.verdict`, sentence by sentence, `.rows`, `.remarks`, and where the page is.

    rows: a dict each: accuracies with their intervals, differences to `reference`, curve, seconds, licence. held_out:
    images by seed. own: whether DATA holds images out itself. spent: seconds of all of it.
    """

    data: str
    verdict: list[str]
    rows: list[dict[str, Any]]
    reference: str
    remarks: list[str]
    images: dict[str, int]
    own: bool
    seeds: list[int]
    minutes: float
    spent: float
    page: str = ""

    def blocks(self) -> list[Block]:
        """The table, the verdict and what it rests on."""
        columns = ["", *(f"{title} in %" for title in MEASURES.values()), "difference", "pre-training", "licence"]
        rows = [
            [
                row["name"],
                *(in_percent(row["measures"].get(name)) for name in MEASURES),
                in_points(row["difference"]),
                duration(row["seconds"]) if row["seconds"] else "–",
                row["licence"],
            ]
            for row in self.rows
        ]
        return [Table(self.title(), columns, rows), *self.explained(), *self.remarks, " ".join(self.verdict)]

    def title(self) -> str:
        """What it is about."""
        return f"{self.data}: {self.images['train']:,} labels, {self.images['classes']} classes"

    def explained(self) -> list[str]:
        """How the images were held out, and what the intervals mean."""
        held = f"{self.images['held_out']:,} held-out images"
        drawn = f"{held} of its own" if self.own else f"{held} a seed, a third of each class, drawn anew for each"
        seeds = f"seeds {', '.join(map(str, self.seeds))}"
        return [
            f"{drawn}; {seeds}. ±: 95 % interval over images and seeds.",
            f"difference: of a row's best measure to {self.reference}, over the same images and seeds, in points.",
            f"It took {duration(self.spent)} of {self.minutes:g} min.",
        ]

    def records(self) -> list[dict[str, Any]]:
        """A row for each setting and measure, as shares."""
        return [
            {"setting": row["name"], "measure": name, **sure_of, "seconds": row["seconds"], "licence": row["licence"]}
            for row in self.rows
            for name, sure_of in row["measures"].items()
        ]


def in_percent(found: Mapping[str, float] | None) -> str:
    """An accuracy with its interval."""
    return "–" if found is None else f"{100 * found['mean']:.1f} ± {100 * found['half']:.1f}"


def in_points(found: Mapping[str, float] | None) -> str:
    """A difference with its interval."""
    return "–" if found is None else f"{100 * found['mean']:+.1f} ± {100 * found['half']:.1f}"


def result_of(work: Work, *, own: bool) -> Worth:
    """What the cells say."""
    measured = [found for row in work.rows if (found := measured_row(work, row)).answered]
    ways = {one.row.name: one.way() for one in measured}
    best = best_of([*ways.values()], SIMPLE)
    assert best is not None  # raw pixels are always there
    other = best_of([*ways.values()], TRAINED)
    by_name = {one.row.name: one for one in measured}
    base = by_name[best.name].answered[best.use]
    gain = by_name[other.name].answered[other.use].less(base) if other else None
    config, first = work.runs.config, work.drawn[0]
    return Worth(
        data=in_words(config.data),
        verdict=verdict(best, other, gain),
        rows=[described(one, base, best.name) for one in measured],
        reference=f"{best.name} ({MEASURES[best.use]})",
        remarks=list(work.remarks),
        images={
            "train": len(first.train),
            "held_out": len(first.held_out),
            "classes": len(first.train.classes),
            "pretrained_on": len(first.train) + len(first.rest or ()),
        },
        own=own,
        seeds=list(config.seeds),
        minutes=config.minutes,
        spent=work.clock.spent(),
    )


def measured_row(work: Work, row: Row) -> Measured:
    """A row, from its cells."""
    frozen = [work.frozen_cell(row, drawn) for drawn in work.drawn]
    trained = [work.trained_cell(row, drawn) for drawn in work.drawn]
    last = str(POINTS[-1])
    bits = {name: [cell.right(FROZEN, name) for cell in frozen] for name in ("knn", "linear")}
    if row.trained:
        bits = {name: [cell.right(last, name) for cell in trained] for name in ("knn", "linear")}
    bits[FINETUNED] = [cell.right(FINETUNED, FINETUNED) for cell in trained]
    points = {
        name: {share: gathered(work, [cell.right(str(share), name) for cell in trained]) for share in POINTS}
        for name in ("knn", "linear")
    }
    took = {share: [cell.seconds[str(share)] for cell in trained if str(share) in cell.seconds] for share in POINTS}
    return Measured(
        row,
        {name: found for name, some in bits.items() if (found := gathered(work, some)) is not None},
        {name: {share: one for share, one in own.items() if one is not None} for name, own in points.items()},
        {share: sum(some) / len(some) for share, some in took.items() if some},
    )


def gathered(work: Work, bits: Sequence[Bool[NDArray, " images"] | None]) -> Answered | None:
    """What was right, seed by seed, in places that an image has in every seed; None where there is nothing."""
    images = 1 + max(max(drawn.ids) for drawn in work.drawn)
    right, there = np.zeros((len(bits), images)), np.zeros((len(bits), images), dtype=bool)
    for number, (own, drawn) in enumerate(zip(bits, work.drawn, strict=True)):
        if own is not None:
            right[number, drawn.ids], there[number, drawn.ids] = own, True
    return Answered(right, there) if there.any() else None


def described(found: Measured, base: Answered, reference: str) -> dict[str, Any]:
    """A row in plain values."""
    row, curve = found.row, found.points.get(found.curve(), {})
    ahead = found.ahead(found.curve())
    return {
        "name": row.name,
        "kind": row.kind,
        "says": row.says,
        "licence": row.licence,
        "measures": {name: plain(one.sure()) for name, one in found.answered.items()},
        "best": found.best(),
        "difference": None if row.name == reference else plain(found.answered[found.best()].less(base)),
        "seconds": found.seconds,
        "curve": [{"share": share, "seconds": found.took[share], **plain(one.sure())} for share, one in curve.items()],
        "ahead": None if ahead is None else {**vars(ahead), "words": ahead.words()},
    }


def plain(found: Sure) -> dict[str, float]:
    """An estimate in plain values."""
    return {"mean": found.mean, "half": found.half, "low": found.low, "high": found.high}
