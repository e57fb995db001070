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
        begin = f"{capital(said(best))} {verb(best, 'are', 'is')}"
        return [f"{begin} best of what was tried; nothing was pre-trained."]
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
    return f"{DO[other.kind]}: {spoken(gain)}{took}, by {said(other)} against {said(best)}."


def not_worth(best: Way, other: Way, gain: Sure) -> str:
    """Pre-training loses."""
    begin = "Raw pixels beat" if best.kind == "pixels" else f"{capital(said(best))} {verb(best, 'beat', 'beats')}"
    return f"{begin} everything that was pre-trained here: stop there. {best_of_it(other, gain)}"


def level(best: Way, other: Way, gain: Sure) -> str:
    """No difference that matters."""
    begin = (
        f"{capital(said(best))} {verb(best, 'are', 'is')} as good as anything that was pre-trained here: stop there."
    )
    return f"{begin} {best_of_it(other, gain)}"


def best_of_it(other: Way, gain: Sure) -> str:
    """How far the best that was pre-trained is from it."""
    return f"The best of that, {said(other)}, differs by {spoken(gain)}."


def and_longer(other: Way, gain: Sure) -> list[str]:
    """What more time may change: whether the order may well be another one then."""
    if other.ahead is None:
        return []
    longer = f"{capital(other.name)}, {other.ahead.words()}."
    if gain.low <= 0 < gain.mean + other.ahead.high:
        sure_of_it = gain.low + other.ahead.low > 0
        return [longer, "Longer pre-training would win." if sure_of_it else "Longer pre-training may win; try it."]
    return [longer]


def too_few(gain: Sure) -> list[str]:
    """What so many held-out images cannot tell, and how many could."""
    more, seeds = more_images(gain), " and take more seeds than one" if gain.seeds < 2 else ""
    return [
        f"{gain.images:,} held-out images: differences under {100 * gain.half:.0f} points cannot be seen.",
        f"Label about {more:,} more held-out images{seeds} to see {100 * WANTED:.0f} points.",
    ]


USES = {"knn": "nearest neighbours", "linear": "a linear classifier"}
"""Frozen measures in words."""


def said(way: Way) -> str:
    """A row and what is made of it, such as `frozen features of W by a linear classifier`."""
    if way.use == "finetuned":
        tuned = {"random": "training from scratch with labels alone", "pretrained": "fine-tuning what was pre-trained"}
        return tuned.get(way.kind, f"fine-tuning {way.name}")
    made = {"pixels": "raw pixels", "pretrained": "features pre-trained from scratch"}
    name = f"{way.name}," if "," in way.name else way.name
    return f"{made.get(way.kind, f'frozen features of {name}')} by {USES[way.use]}"


def capital(text: str) -> str:
    """A text at the beginning of a sentence."""
    return text[0].upper() + text[1:]


def verb(way: Way, many: str, one: str) -> str:
    """A verb for features, or for fine-tuning."""
    return one if way.use == "finetuned" else many


def spoken(gain: Sure) -> str:
    """A difference in points, such as +3.1 +- 0.8 points."""
    return f"{100 * gain.mean:+.1f} ± {100 * gain.half:.1f} points"


def best_of(ways: Sequence[Way], kinds: Sequence[Kind]) -> Way | None:
    """The way of these kinds that does best, the first of several; None where there is none."""
    return max((way for way in ways if way.kind in kinds), key=lambda way: way.accuracy, default=None)
