"""What the numbers say, in words: every sentence follows from differences and their intervals by a rule here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pcae.comparison.worth.curve import Outlook
from pcae.comparison.worth.paired import WANTED, Sure, more_images
from pcae.terminal import duration

Kind = Literal["pixels", "random", "given", "pretrained", "continued", "distilled"]
"""What a row is: raw pixels; a new network; weights as they were given; and what was pre-trained on these images: from
scratch, on from weights, or a small network that learned weights' features."""
TRAINED: tuple[Kind, ...] = ("pretrained", "continued", "distilled")
"""Rows that were pre-trained on these images."""
DO: dict[Kind, str] = {
    "pretrained": "Pre-train on your images",
    "continued": "Continue pre-training",
    "distilled": "Distil into a small network",
}
COARSE = 0.05
"""Half an interval from which on a difference that is not seen may still matter, as a share."""


@dataclass(frozen=True)
class Way:
    """A row by the measure in which it does best. seconds: of pre-training, None where there was none.

    use: what is made of the row: its features as they are (knn, linear), or fine-tuning (finetuned).
    """

    name: str
    kind: Kind
    use: str
    accuracy: float
    seconds: float | None = None
    ahead: Outlook | None = None


def verdict(best: Way, other: Way | None, gain: Sure | None) -> list[str]:
    """The verdict, sentence by sentence.

    best: what does best without pre-training on these images. other: what does best with it; None where nothing was
    pre-trained. gain: other - best, over the same images and seeds.
    """
    if other is None or gain is None:
        return [f"{named(best)} {verb(best)} best of what was tried; nothing was pre-trained."]
    if gain.low > 0:
        return [worth(best, other, gain), *and_longer(other, gain)]
    if gain.high < 0:
        return [not_worth(best, other, gain), *and_longer(other, gain)]
    if gain.half > COARSE:
        return [f"Too few images to tell: {spoken(gain)} for pre-training.", *too_few(gain)]
    return [level(best, other, gain), *and_longer(other, gain)]


def worth(best: Way, other: Way, gain: Sure) -> str:
    """Pre-training wins."""
    took = f" for {duration(other.seconds)}" if other.seconds else ""
    return f"{DO[other.kind]}: {spoken(gain)}{took}. {named(other)} against {unnamed(best)}."


def not_worth(best: Way, other: Way, gain: Sure) -> str:
    """Pre-training loses."""
    if best.kind == "pixels":
        return f"Raw pixels ({USES[best.use]}) beat everything that was trained here: {spoken(gain)} by the best of it."
    return f"{named(best)} {verb(best)} better than anything that was pre-trained here ({spoken(gain)}): stop there."


def level(best: Way, other: Way, gain: Sure) -> str:
    """No difference that matters."""
    said = f"{named(best)} {verb(best)} as good as anything that was pre-trained here"
    return f"{said} ({spoken(gain)} by {unnamed(other)}): stop there."


def and_longer(other: Way, gain: Sure) -> list[str]:
    """What more time may change: whether the order may well be another one then."""
    if other.ahead is None:
        return []
    said = f"{other.name}, {other.ahead.words()}."
    if gain.low <= 0 < gain.mean + other.ahead.high:
        sure_of_it = gain.low + other.ahead.low > 0
        return [said, "Longer pre-training would win." if sure_of_it else "Longer pre-training may win; try it."]
    return [said]


def too_few(gain: Sure) -> list[str]:
    """What so many held-out images cannot tell, and how many could."""
    more, seeds = more_images(gain), " and take more seeds than one" if gain.seeds < 2 else ""
    return [
        f"{gain.images:,} held-out images: differences under {100 * gain.half:.0f} points cannot be seen.",
        f"Label about {more:,} more held-out images{seeds} to see {100 * WANTED:.0f} points.",
    ]


USES = {"knn": "nearest neighbours", "linear": "a linear classifier", "finetuned": "fine-tuned"}
"""What a measure means for its row."""


def named(way: Way) -> str:
    """A row and what is made of it, at the beginning of a sentence."""
    said = unnamed(way)
    return said[0].upper() + said[1:]


def unnamed(way: Way) -> str:
    """A row and what is made of it."""
    if way.use == "finetuned":
        return f"{way.name} fine-tuned" if way.kind != "random" else "training from scratch with labels alone"
    return f"{'frozen features of ' if way.kind != 'pixels' else ''}{way.name} ({USES[way.use]})"


def verb(way: Way) -> str:
    """Whether it is one or many."""
    return "is" if way.use == "finetuned" else "are"


def spoken(gain: Sure) -> str:
    """A difference in points, such as +3.1 +- 0.8 points."""
    return f"{100 * gain.mean:+.1f} ± {100 * gain.half:.1f} points"


def best_of(ways: Sequence[Way], kinds: Sequence[Kind]) -> Way | None:
    """The way of these kinds that does best, the first of several; None where there is none."""
    return max((way for way in ways if way.kind in kinds), key=lambda way: way.accuracy, default=None)
