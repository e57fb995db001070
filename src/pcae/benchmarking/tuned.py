"""What tuning came to: a table, a file that other verbs take, and a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pcae.pictures.front import draw_front
from pcae.results import Block, Result, Table
from pcae.settings.trained import Rule
from pcae.writing import in_one_move

SETTINGS = ("drop_ratio", *vars(Rule()))
"""What the file says of the reduction."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Tuned(Result):
    """The reduction that was found, and all that was tried.

    counted: what shares are of, in words. whole: the whole model's share. milliseconds: of the whole model for a batch.
    chosen: the reduction, how many times as fast as the whole model it is, its share of `images`. tried: the same of
    all that was measured, the fastest last; those that were given up early have seen fewer images.
    """

    out: Path
    weights: str
    data: str
    counted: str
    images: int
    batch_size: int
    runtime: str
    device: str
    precision: str
    threads: int
    whole: float
    milliseconds: float
    chosen: dict[str, Any]
    tried: list[dict[str, Any]]

    def blocks(self) -> list[Block]:
        """What was tried, and what was found."""
        columns = ["rule", "drop ratio", "times as fast", f"% {self.counted}", "images"]
        rows = [
            [
                in_words(row),
                f"{row['drop_ratio']:g}",
                f"{row['times_as_fast']:.2f}",
                f"{100 * row['share']:.1f}",
                f"{row['images']:,}",
            ]
            for row in self.tried
        ]
        return [Table("what was tried", columns, rows), *self.lines(), f"written: {self.out}, and a picture beside it"]

    def lines(self) -> list[str]:
        """What was found, and where it holds."""
        chosen, share = self.chosen, 100 * self.whole
        return [
            f"{in_words(chosen)}, drop ratio {chosen['drop_ratio']:g}: {chosen['times_as_fast']:.2f} times as fast as "
            f"the whole model, {share - 100 * chosen['share']:.1f} points lost",
            f"whole model: {self.milliseconds:.3g} ms for {self.batch_size} at once, {share:.1f} % {self.counted} of "
            f"{self.images:,} images of {self.data}",
            f"holds for {self.weights} in {self.runtime} on {self.device}, {self.precision}, {self.threads} threads",
        ]

    def records(self) -> list[dict[str, Any]]:
        """A row for each candidate."""
        return self.tried


def in_words(row: dict[str, Any]) -> str:
    """A rule."""
    after = "usual blocks" if row["after"] is None else f"blocks {', '.join(map(str, row['after']))}"
    return f"{kind_of(row)}, {after}{', before MLP' if row['before_mlp'] else ''}"


def kind_of(row: dict[str, Any]) -> str:
    """Which tokens go and what becomes of them."""
    return f"{row['criterion']}, {row['fold']}"


def write(found: Tuned) -> None:
    """The file, which says in comments what was measured, and the picture beside it."""
    said = {name: found.chosen[name] for name in SETTINGS if found.chosen[name] is not None}
    said |= {"after": list(said["after"])} if "after" in said else {}
    comments = "".join(f"# {line}\n" for line in found.lines())
    with in_one_move(found.out) as beside:
        beside.write_text(comments + yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    draw(found)


def draw(found: Tuned) -> None:
    """The picture: all that has answered for every image."""
    points = {"whole model": [(1.0, found.whole)]}
    for row in found.tried:
        if row["images"] == found.images:
            points.setdefault(kind_of(row), []).append((row["times_as_fast"], row["share"]))
    chosen = (found.chosen["times_as_fast"], found.chosen["share"])
    draw_front(found.out.with_suffix(".png"), points, chosen, found.counted)
